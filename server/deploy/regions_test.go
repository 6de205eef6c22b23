package deploy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take to come up before the test gives up.
const patience = time.Minute

// trial is the two regions of compose.yaml as processes of this machine: the same
// configurations, certificates, passwords and scripts, with other addresses.
type trial struct {
	t        *testing.T
	dir      string            // a copy of the folder compose
	bin      string            // the folder of the two programs
	address  map[string]string // of postgres-ch, s3-ch, gateway-ch-1 … : localhost and a port
	admin    map[string]string // of gateways
	postgres *syscall.Credential
	service  *syscall.Credential // who runs the gateways: as in the containers, not root
}

// What ./prepare makes and compose.yaml mounts is what gateways, databases and buckets need to
// serve two regions that are each other's peers.
func TestRegionsServe(t *testing.T) {
	need(t, []string{"openssl", "versitygw"})
	r := newTrial(t)
	for _, region := range []string{"ch", "us"} {
		r.startPostgres(region)
		r.startS3(region)
		r.configure(region)
	}
	for _, region := range []string{"ch", "us"} {
		for _, args := range [][]string{{"--check"}, {"migrate"}, {"migrate"}} {
			r.must(r.run(r.service, "domiciled", append(args, "--config", r.config(region))...))
		}
		for _, n := range []string{"1", "2"} {
			r.startGateway(region, region+"-"+n)
		}
	}
	for name := range r.admin {
		r.wait(name+" is ready", func() error {
			_, err := r.run(r.service, "domiciled", "healthcheck", "--address", r.admin[name])
			return err
		})
	}
	r.use()
}

// use does at each region's gateways what tells that all parts work together.
func (r *trial) use() {
	r.t.Helper()
	as := func(gateway, identity string, args ...string) (string, error) {
		return r.run(nil, "domicile", append([]string{"--data", filepath.Join(r.dir, "secrets"), "--address", r.address["gateway-"+gateway], "-i", identity}, args...)...)
	}
	record := filepath.Join(r.dir, "record.json")
	text := `{"subject_id": "p", "source": "SOURCE_PROVIDED", "purposes": ["PURPOSE_PAYMENTS"], "personal": {"full_name": "Anna Muster"}}`
	r.must("", os.WriteFile(record, []byte(text), 0o600))
	drive := filepath.Join(r.dir, "drive")
	r.must("", os.WriteFile(drive, []byte(strings.Repeat("0123456789abcdef", 1<<16)), 0o600))
	for region, tenant := range map[string]string{"ch": "alpine", "us": "prairie"} {
		one, two, app := region+"-1", region+"-2", "app-"+region
		r.must(as(one, "admin-"+region, "tenant", "register", tenant, "--residence", strings.ToUpper(region)))
		r.must(as(two, app, "record", "put", tenant, "p", "r", "--from", record))
		if got, err := as(one, app, "record", "get", tenant, "p", "r", "--purpose", "payments"); err != nil || !strings.Contains(got, "Anna Muster") {
			r.t.Errorf("%s: %q, %v", one, got, err)
		}
		r.must(as(one, app, "drive", "create", tenant, "d", "--size", "1048576"))
		r.must(as(one, app, "drive", "write", tenant, "d", drive))
		r.must(as(two, app, "drive", "read", tenant, "d", drive+region))
		r.must(execute(r.dir, nil, "cmp", drive, drive+region))
	}
	// By the other region's gateways the home decides, and nothing passes.
	if got, err := as("us-2", "app-us", "record", "get", "alpine", "p", "r", "--purpose", "payments"); err == nil || !strings.Contains(err.Error(), "CROSS_BORDER_CONSENT_REQUIRED") {
		r.t.Errorf("across the border: %q, %v", got, err)
	}
	if got, err := as("us-1", "admin-us", "tenant", "register", "alpine", "--residence", "US"); err == nil || !strings.Contains(err.Error(), "ALREADY_EXISTS") {
		r.t.Errorf("a name that is taken in the other region: %q, %v", got, err)
	}
}

func newTrial(t *testing.T) *trial {
	t.Helper()
	r := &trial{t: t, bin: t.TempDir(), address: map[string]string{}, admin: map[string]string{}}
	root := copied(t)
	r.dir = filepath.Join(root, "compose")
	r.must("", withSecrets(root))
	r.must(execute(filepath.Join("..", ".."), nil, "go", "build", "-o", r.bin, "./server/domiciled", "./client/domicile"))
	path, err := program("versitygw")
	r.must("", err)
	r.must(execute("/", nil, "cp", path, r.bin)) // where it lies may be closed to others
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		r.must("", err)
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		r.must("", err)
		r.postgres = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
		r.service = &syscall.Credential{Uid: 65532, Gid: 65532}
		// A container sees what is mounted, not the folders above it.
		for _, dir := range []string{filepath.Dir(r.bin), r.bin, filepath.Dir(root), root, r.dir, "secrets", "secrets/ch", "secrets/us"} {
			if !filepath.IsAbs(dir) {
				dir = filepath.Join(r.dir, dir)
			}
			r.must("", os.Chmod(dir, 0o755)) //nolint:gosec // others pass through it
		}
	}
	for _, region := range []string{"ch", "us"} {
		for _, name := range []string{"postgres-" + region, "s3-" + region, "gateway-" + region + "-1", "gateway-" + region + "-2"} {
			r.address[name] = r.free("localhost")
		}
		r.admin["gateway-"+region+"-1"], r.admin["gateway-"+region+"-2"] = r.free("127.0.0.1"), r.free("127.0.0.1")
	}
	return r
}

func (r *trial) must(out any, err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%v\n%v", err, out)
	}
}

// free gives an address that nobody listens at.
func (r *trial) free(host string) string {
	r.t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed at once
	r.must("", err)
	defer lis.Close()
	_, port, err := net.SplitHostPort(lis.Addr().String())
	r.must("", err)
	return net.JoinHostPort(host, port)
}

func (r *trial) port(name string) string {
	_, port, _ := net.SplitHostPort(r.address[name])
	return port
}

// wait tries until it works.
func (r *trial) wait(what string, try func() error) {
	r.t.Helper()
	for late := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(late) {
			r.t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}

// command prepares a program: one of this project's by its name, or a path.
func (r *trial) command(who *syscall.Credential, name string, args ...string) *exec.Cmd {
	if !filepath.IsAbs(name) {
		name = filepath.Join(r.bin, name)
	}
	cmd := exec.Command(name, args...) //nolint:noctx // it is stopped when the test ends
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (r *trial) run(who *syscall.Credential, name string, args ...string) (string, error) {
	out, err := r.command(who, name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return string(out), err
}

// start runs a program until the test ends; what it says is shown when the test has failed.
func (r *trial) start(name string, stop os.Signal, cmd *exec.Cmd) {
	r.t.Helper()
	log, err := os.Create(filepath.Join(r.t.TempDir(), name))
	r.must("", err)
	cmd.Stdout, cmd.Stderr = log, log
	r.must("", cmd.Start())
	r.t.Cleanup(func() {
		_ = cmd.Process.Signal(stop) // it may have ended
		err := cmd.Wait()
		if text, _ := os.ReadFile(log.Name()); r.t.Failed() {
			r.t.Logf("%s: %v\n%s", name, err, text)
		}
		_ = log.Close()
	})
}

// startPostgres starts a region's database as the image does, with the same files and the same first script.
func (r *trial) startPostgres(region string) {
	r.t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		r.t.Fatal("PostgreSQL is not below /usr/lib/postgresql: on Debian, apt-get install postgresql")
	}
	bin, dir := filepath.Dir(found[len(found)-1]), r.t.TempDir()
	data, secrets := filepath.Join(dir, "data"), filepath.Join(dir, "tls")
	r.must(execute(r.dir, nil, "cp", "-r", filepath.Join("secrets", region, "postgres"), secrets))
	if r.postgres != nil {
		r.must("", os.Chmod(filepath.Dir(dir), 0o755)) //nolint:gosec // others pass through it
		r.must(execute("/", nil, "chown", "-R", "postgres:", dir))
	}
	r.must(r.run(r.postgres, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256",
		"--pwfile="+filepath.Join(secrets, "superuser"), "--no-sync", "-E", "UTF8"))
	args := []string{"-D", data, "-p", r.port("postgres-" + region), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + dir}
	script, err := os.ReadFile(filepath.Join(r.dir, "postgres-start"))
	r.must("", err)
	_, settings, there := strings.Cut(strings.ReplaceAll(string(script), "\\\n", " "), "docker-entrypoint.sh postgres ")
	if !there {
		r.t.Fatal("postgres-start has no settings")
	}
	args = append(args, strings.Fields(strings.ReplaceAll(settings, "/run/tls", secrets))...)
	r.start("postgres-"+region, os.Interrupt, r.command(r.postgres, filepath.Join(bin, "postgres"), args...))
	r.wait("postgres-"+region, func() error {
		_, err := r.run(nil, filepath.Join(bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", r.port("postgres-"+region))
		return err
	})
	first, err := os.ReadFile(filepath.Join(r.dir, "postgres-init.sh"))
	r.must("", err)
	cmd := r.command(r.postgres, "/bin/bash", "-e", "-c", strings.ReplaceAll(string(first), "/run/tls", secrets))
	cmd.Env = append(cmd.Env, "PGHOST="+dir, "PGPORT="+r.port("postgres-"+region))
	r.must(cmd.CombinedOutput())
}

// startS3 starts a region's S3 server on a folder like the one in its image.
func (r *trial) startS3(region string) {
	r.t.Helper()
	objects, secrets := filepath.Join(r.t.TempDir(), "data"), filepath.Join(r.dir, "secrets", region)
	r.must("", os.MkdirAll(filepath.Join(objects, "drives"), 0o755)) //nolint:gosec // as in the image
	if r.service != nil {
		r.must("", os.Chmod(filepath.Dir(filepath.Dir(objects)), 0o755)) //nolint:gosec // others pass through it
		r.must(execute("/", nil, "chown", "-R", "65532:65532", objects))
	}
	cmd := r.command(r.service, "versitygw", "--quiet", "--keep-alive", "--port", "127.0.0.1:"+r.port("s3-"+region), "--region", region,
		"--cert", filepath.Join(secrets, "s3", "s3.crt"), "--key", filepath.Join(secrets, "s3", "s3.key"), "posix", objects)
	env, err := os.ReadFile(filepath.Join(secrets, "s3.env"))
	r.must("", err)
	cmd.Env = append(cmd.Env, strings.Fields(string(env))...)
	r.start("s3-"+region, os.Interrupt, cmd)
}

func (r *trial) config(region string) string { return filepath.Join(r.dir, region+".here.yaml") }

// configure writes a region's configuration with the addresses and folders of this machine.
func (r *trial) configure(region string) {
	r.t.Helper()
	other := map[string]string{"ch": "us", "us": "ch"}[region]
	secrets := filepath.Join(r.dir, "secrets", region, "gateway")
	replaced := func(name, from, to string) {
		text, err := os.ReadFile(name)
		if err == nil && !strings.Contains(string(text), from) {
			err = errors.New(name + " has no " + from)
		}
		r.must("", err)
		r.must("", os.WriteFile(name, []byte(strings.ReplaceAll(string(text), from, to)), 0o600))
	}
	r.must(execute(r.dir, nil, "cp", region+".yaml", r.config(region)))
	replaced(r.config(region), "/run/secrets", secrets)
	replaced(r.config(region), "postgres-"+region+":5432", r.address["postgres-"+region])
	replaced(r.config(region), "s3-"+region+":7070", r.address["s3-"+region])
	replaced(r.config(region), `"gateway-`+other+`:8443"`, fmt.Sprintf("%q", r.address["gateway-"+other+"-1"]+","+r.address["gateway-"+other+"-2"]))
	replaced(filepath.Join(secrets, "pgpass"), "postgres-"+region+":5432", r.address["postgres-"+region])
	if r.service != nil {
		r.must(execute("/", nil, "chown", "65532:65532", r.config(region), filepath.Join(secrets, "pgpass")))
	}
	// They are mounted to be read: a gateway must make nothing there.
	r.must(execute("/", nil, "chmod", "-R", "a-w", secrets))
	r.t.Cleanup(func() { _, _ = execute("/", nil, "chmod", "-R", "u+w", secrets) }) // for the folder's removal
}

func (r *trial) startGateway(region, name string) {
	r.t.Helper()
	cmd := r.command(r.service, "domiciled", "--config", r.config(region))
	cmd.Env = append(cmd.Env, "DOMICILE_GATEWAY_NAME="+name,
		"DOMICILE_GATEWAY_LISTEN=127.0.0.1:"+r.port("gateway-"+name), "DOMICILE_GATEWAY_ADMIN_LISTEN="+r.admin["gateway-"+name])
	r.start("gateway-"+name, syscall.SIGTERM, cmd)
}
