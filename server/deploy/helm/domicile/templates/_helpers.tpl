{{- define "domicile.name" -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "domicile.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "domicile.labels" -}}
{{ include "domicile.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "domicile.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* The configuration: what the values say, and over it what the pod's files and addresses are. */}}
{{- define "domicile.config" -}}
{{- $c := deepCopy .Values.config -}}
{{- $gateway := dict "name" "set-by-the-pod" "listen" "0.0.0.0:8443" "admin_listen" "127.0.0.1:9464" -}}
{{- $_ := set $c "gateway" (mergeOverwrite (default dict $c.gateway) $gateway) -}}
{{- $_ := set $c "tls" (dict "certificate" "/secrets/tls/tls.crt" "key" "/secrets/tls/tls.key" "client_ca" "/secrets/tls/ca.crt") -}}
{{- $_ := set $c "directory_key" "file:/secrets/directory/directory.key" -}}
{{- $served := 0 -}}
{{- range $name, $r := $c.regions -}}
{{- if not $r.peer -}}
{{- $served = add1 $served -}}
{{- $_ := set $r "keys" "file:/secrets/keys" -}}
{{- if not (hasPrefix "postgres://" (default "" $r.key_store)) -}}
{{- fail (printf "config.regions.%s.key_store: want a postgres:// location: replicas share nothing else that they can write to" $name) -}}
{{- end -}}
{{- range $i, $cluster := $r.clusters -}}
{{- if or (not (hasPrefix "postgres://" $cluster.rows)) (not (hasPrefix "s3://" $cluster.blobs)) -}}
{{- fail (printf "config.regions.%s.clusters[%d]: want rows in postgres:// and blobs in s3://: replicas share nothing else that they can write to" $name $i) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if ne (int $served) 1 -}}
{{- fail "config.regions: want exactly one region without a peer: a release is the gateways of one region" -}}
{{- end -}}
{{- if not (hasPrefix "postgres://" (default "" $c.directory)) -}}
{{- fail "config.directory: want a postgres:// location: replicas share nothing else that they can write to" -}}
{{- end -}}
{{- toYaml $c -}}
{{- end -}}

{{/* Seconds from the order to stop to the end of all calls: the pause, limits.drain, and what closing the stores takes. */}}
{{- define "domicile.grace" -}}
{{- $drain := 20 -}}
{{- with .Values.config.limits -}}{{- with .drain -}}
{{- if not (regexMatch "^[0-9]+s$" (toString .)) -}}
{{- fail "config.limits.drain: want whole seconds here, for example 20s" -}}
{{- end -}}
{{- $drain = trimSuffix "s" (toString .) | int -}}
{{- end -}}{{- end -}}
{{- add (int .Values.stopPauseSeconds) $drain 15 -}}
{{- end -}}

{{- define "domicile.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532 # secrets are root's files, readable by this group
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "domicile.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The files that every gateway and the migration need; the gateways have more. */}}
{{- define "domicile.postgresVolume" -}}
{{- with .Values.secrets.postgres }}
- name: postgres
  secret: {secretName: {{ . | quote }}, defaultMode: 0400}
{{- end }}
{{- end -}}

{{- define "domicile.postgresMount" -}}
{{- if .Values.secrets.postgres }}
- {name: postgres, mountPath: /secrets/postgres, readOnly: true}
{{- end }}
{{- end -}}
