{{- define "slipway.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "slipway.labels" -}}
app.kubernetes.io/name: slipway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "slipway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* The secrets of a role, under one folder. Takes {root, role}. */ -}}
{{- define "slipway.sources" -}}
{{- $secrets := .root.Values.secrets -}}
- secret:
    name: {{ $secrets.backends }}
    items: [{key: database_url, path: database_url}, {key: live_url, path: live_url}]
{{- if eq .role "dispatcher" }}
- secret:
    name: {{ $secrets.bus }}
    items: [{key: bus_url, path: bus_url}]
{{- end }}
{{- if or (eq .role "api") (eq .role "dispatcher") }}
- secret:
    name: {{ $secrets.keys }}
    items: [{key: secret_key, path: secret_key}]
{{- end }}
{{- if eq .role "api" }}
- secret:
    name: {{ $secrets.bootstrap }}
    items: [{key: bootstrap_token, path: bootstrap_token}]
{{- end }}
{{- end }}

{{- /* The settings of a role. Takes {root, role}. */ -}}
{{- define "slipway.env" -}}
{{- $values := .root.Values -}}
- {name: SLIPWAY_LISTEN, value: "0.0.0.0:8080"}
- {name: SLIPWAY_LOG_FORMAT, value: json}
- {name: SLIPWAY_REGION, value: {{ $values.region | quote }}}
- {name: SLIPWAY_DATABASE_URL_FILE, value: /run/slipway/database_url}
- {name: SLIPWAY_LIVE_URL_FILE, value: /run/slipway/live_url}
{{- if eq .role "dispatcher" }}
- {name: SLIPWAY_BUS_URL_FILE, value: /run/slipway/bus_url}
{{- end }}
{{- if ne .role "scheduler" }}
- {name: SLIPWAY_TRUSTED_PROXIES, value: {{ $values.trustedProxies | quote }}}
{{- end }}
{{- if or (eq .role "api") (eq .role "dispatcher") }}
- {name: SLIPWAY_SECRET_KEY_FILE, value: /run/slipway/secret_key}
- {name: SLIPWAY_FETCH_ALLOW, value: {{ $values.fetchAllow | quote }}}
- {name: SLIPWAY_TRUST_TENANTS, value: {{ ternary "1" "0" $values.trustTenants | quote }}}
{{- end }}
{{- if eq .role "api" }}
- {name: SLIPWAY_BOOTSTRAP_TOKEN_FILE, value: /run/slipway/bootstrap_token}
- {name: SLIPWAY_PUBLIC_URL, value: {{ required "publicUrl: how browsers and forges reach this service" $values.publicUrl | quote }}}
- {name: SLIPWAY_TENANT_BUILDS_PER_MINUTE, value: {{ $values.tenantBuildsPerMinute | quote }}}
- {name: SLIPWAY_TENANT_WRITES_PER_MINUTE, value: {{ $values.tenantWritesPerMinute | quote }}}
{{- end }}
{{- if or (eq .role "logsvc") (eq .role "api") }}
- {name: SLIPWAY_BLOB_URL, value: {{ required "blobUrl: where logs are kept, such as s3://bucket/prefix" $values.blobUrl | quote }}}
{{- end }}
{{- end }}

{{- define "slipway.hardened" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "slipway.nobody" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}
