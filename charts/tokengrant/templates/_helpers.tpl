{{- define "tokengrant.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* 40 characters leave room for the longest suffix, in a name of 63. */}}
{{- define "tokengrant.fullname" -}}
{{- $name := include "tokengrant.name" . -}}
{{- $default := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $default .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "tokengrant.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tokengrant.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: manager
{{- end -}}

{{- define "tokengrant.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "tokengrant.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tokengrant.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (printf "%s-controller-manager" (include "tokengrant.fullname" .)) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The one subject of all bindings. */}}
{{- define "tokengrant.subjects" -}}
subjects:
- kind: ServiceAccount
  name: {{ include "tokengrant.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "tokengrant.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tokengrant.encryptionSecret" -}}
{{- default (printf "%s-encryption" (include "tokengrant.fullname" .)) .Values.encryption.existingSecret -}}
{{- end -}}

{{- define "tokengrant.caConfigMap" -}}
{{- if .Values.caBundle.pem -}}
{{- printf "%s-ca" (include "tokengrant.fullname" .) -}}
{{- else -}}
{{- .Values.caBundle.existingConfigMap -}}
{{- end -}}
{{- end -}}

{{/* The lease of the leader: an operator of some grants or namespaces may have neighbours. */}}
{{- define "tokengrant.lease" -}}
{{- if or .Values.grantSelector (without (default list .Values.watchNamespaces) .Release.Namespace) -}}
{{- printf "%s.tokengrant.dev" (include "tokengrant.fullname" .) -}}
{{- else -}}
leader.tokengrant.dev
{{- end -}}
{{- end -}}

{{/* Only what differs from the manager's own defaults. */}}
{{- define "tokengrant.args" -}}
{{- with .Values.watchNamespaces }}
- --watch-namespaces={{ join "," . }}
{{- end }}
{{- with .Values.grantSelector }}
- --grant-selector={{ . }}
{{- end }}
{{- if ne (include "tokengrant.lease" .) "leader.tokengrant.dev" }}
- --leader-election-id={{ include "tokengrant.lease" . }}
{{- end }}
{{- if not .Values.metrics.enabled }}
- --metrics-bind-address=0
{{- else if ne (int .Values.metrics.port) 8443 }}
- --metrics-bind-address=:{{ .Values.metrics.port }}
{{- end }}
{{- if and .Values.metrics.enabled (not .Values.metrics.secure) }}
- --metrics-secure=false
{{- end }}
{{- if .Values.statusPage.enabled }}
- --status-page
{{- end }}
{{- if .Values.encryption.enabled }}
- --encryption-keys-file=/etc/tokengrant/encryption/keys
{{- end }}
{{- if .Values.importKeys.existingSecret }}
- --import-keys-file=/etc/tokengrant/import-keys/keys
{{- end }}
{{- if not .Values.clusterIssuers }}
- --cluster-issuers=false
{{- end }}
{{- if .Values.allowHTTPIssuers }}
- --allow-http-issuers
{{- end }}
{{- if .Values.denyPrivateAddresses }}
- --deny-private-addresses
{{- end }}
{{- with .Values.allowedHosts }}
- --allowed-hosts={{ join "," . }}
{{- end }}
{{- if ne (int .Values.maxConcurrentReconciles) 32 }}
- --max-concurrent-reconciles={{ .Values.maxConcurrentReconciles }}
{{- end }}
{{- if ne .Values.logLevel "info" }}
- --zap-log-level={{ .Values.logLevel }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "tokengrant.validate" -}}
{{- with .Values -}}
{{- if and .statusPage.enabled (not .metrics.enabled) -}}
{{- fail "statusPage.enabled needs metrics.enabled: the page is served beside the metrics" -}}
{{- end -}}
{{- if and (or .metrics.serviceMonitor.enabled .metrics.podMonitor.enabled) (not .metrics.enabled) -}}
{{- fail "a ServiceMonitor or PodMonitor needs metrics.enabled" -}}
{{- end -}}
{{- if and .metrics.serviceMonitor.enabled .metrics.podMonitor.enabled -}}
{{- fail "enable metrics.serviceMonitor or metrics.podMonitor, not both: all would be scraped twice" -}}
{{- end -}}
{{- if and .metrics.podMonitor.enabled .metrics.secure (not .metrics.podMonitor.authorization) -}}
{{- fail "metrics.podMonitor with metrics.secure needs metrics.podMonitor.authorization, with the Secret of the scraper's token; or use metrics.serviceMonitor" -}}
{{- end -}}
{{- if and .caBundle.pem .caBundle.existingConfigMap -}}
{{- fail "set caBundle.pem or caBundle.existingConfigMap, not both" -}}
{{- end -}}
{{- end -}}
{{- end -}}
