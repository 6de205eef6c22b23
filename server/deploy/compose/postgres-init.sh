# Runs once, when the server's folder is empty: the gateways' user, who is no superuser, a
# database for rows and the directory, and one apart for the wrapped keys.
psql -X -v ON_ERROR_STOP=1 -U postgres <<'SQL'
\set password `cat /run/tls/password`
create role domicile login password :'password';
create database domicile owner domicile;
create database keys owner domicile;
revoke connect on database domicile, keys from public;
SQL
