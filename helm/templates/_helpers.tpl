{{/*
SPDX-License-Identifier: Apache-2.0
Names, labels and the parts of a pod that server and client share. Each template that takes a role gets
(dict "root" $ "role" "server"|"client").
*/}}

{{- define "wormhole.base" -}}
{{- printf "wormhole-%s" .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- end }}

{{- define "wormhole.name" -}}
{{- printf "%s-%s" (include "wormhole.base" .root) .role -}}
{{- end }}

{{/* Cluster-scoped objects: two releases of one name may live in two namespaces. */}}
{{- define "wormhole.clusterName" -}}
{{- printf "%s-%s" .root.Release.Namespace (include "wormhole.name" .) -}}
{{- end }}

{{- define "wormhole.selector" -}}
application: {{ include "wormhole.name" . }}
{{- end }}

{{- define "wormhole.labels" -}}
{{ include "wormhole.selector" . }}
app.kubernetes.io/name: wormhole
app.kubernetes.io/component: {{ .role }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "wormhole.serviceAccount" -}}
{{- $given := ternary .root.Values.serviceAccount.serverName .root.Values.serviceAccount.clientName (eq .role "server") -}}
{{- if and (not .root.Values.serviceAccount.create) (not $given) -}}
{{- fail (printf "serviceAccount.create is false: please set serviceAccount.%sName" .role) -}}
{{- end -}}
{{- default (include "wormhole.name" .) $given -}}
{{- end }}

{{- define "wormhole.image" -}}
{{- $d := .Values.docker -}}
{{- with $d.registry }}{{ . }}/{{ end }}{{ $d.image }}{{ if $d.digest }}@{{ $d.digest }}{{ else }}:{{ default .Chart.AppVersion $d.version }}{{ end -}}
{{- end }}

{{- define "wormhole.path" -}}
{{- default "/wh/tunnel" .Values.server.path -}}
{{- end }}

{{/* A map of options as arguments; what is set to null is left out. Numbers come as floats from a file of values. */}}
{{- define "wormhole.config" -}}
{{- range $key, $value := . }}
{{- if kindIs "invalid" $value }}
{{- else if kindIs "slice" $value }}
{{- range $value }}
- {{ printf "--%s=%s" $key . | quote }}
{{- end }}
{{- else if kindIs "bool" $value }}
- {{ printf "--%s%s" (ternary "" "no-" $value) $key | quote }}
{{- else if kindIs "string" $value }}
- {{ printf "--%s=%s" $key $value | quote }}
{{- else }}
- {{ printf "--%s=%d" $key (int64 $value) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where scheduling and security are alike for both roles. */}}
{{- define "wormhole.podSpec" -}}
{{- $v := index .root.Values .role -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ include "wormhole.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $v.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $v.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.topologySpreadConstraints }}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "wormhole.selector" $ | fromYaml)) }}
topologySpreadConstraints:
  {{- range . }}
  - {{- toYaml (merge (deepCopy .) $own) | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The key comes from a Secret: Wormhole wants its keys in a directory of its own with mode 0700, which a mounted Secret is not. */}}
{{- define "wormhole.initContainers" -}}
{{- $v := index .root.Values .role -}}
{{- if $v.existingSecret }}
initContainers:
  - name: keys
    image: {{ include "wormhole.image" .root }}
    imagePullPolicy: {{ $v.pullPolicy }}
    command: [/usr/bin/wormhole, keys, copy, /keys-given, /keys/own]
    {{- with $v.containerSecurityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $v.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - {name: keys, mountPath: /keys}
      - {name: keys-given, mountPath: /keys-given, readOnly: true}
{{- end }}
{{- end }}

{{- define "wormhole.volumes" -}}
{{- $v := index .root.Values .role -}}
volumes:
  - name: tmp
    emptyDir: {}
  - name: run
    emptyDir: {}
  - name: storage
    {{- if $v.pvc.enabled }}
    persistentVolumeClaim:
      claimName: {{ include "wormhole.name" . }}
    {{- else }}
    emptyDir: {}
    {{- end }}
  {{- if $v.existingSecret }}
  - name: keys
    emptyDir:
      medium: Memory
  - name: keys-given
    secret:
      secretName: {{ $v.existingSecret }}
      defaultMode: 0440
  {{- end }}
  {{- if and (eq .role "server") .root.Values.server.adminToken.existingSecret }}
  - name: admin-token
    secret:
      secretName: {{ .root.Values.server.adminToken.existingSecret }}
      defaultMode: 0440
      items:
        - {key: token, path: token}
  {{- end }}
  - name: api-access
    projected:
      defaultMode: 0440
      sources:
        - serviceAccountToken:
            path: token
            expirationSeconds: 3600
        - configMap:
            name: kube-root-ca.crt
            items:
              - {key: ca.crt, path: ca.crt}
        - downwardAPI:
            items:
              - path: namespace
                fieldRef:
                  fieldPath: metadata.namespace
  {{- with .root.Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "wormhole.mounts" -}}
{{- $v := index .root.Values .role -}}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: run, mountPath: /run/wormhole}
  - {name: storage, mountPath: /storage}
  - {name: api-access, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
  {{- if $v.existingSecret }}
  - {name: keys, mountPath: /keys}
  {{- end }}
  {{- if and (eq .role "server") .root.Values.server.adminToken.existingSecret }}
  - {name: admin-token, mountPath: /admin-token, readOnly: true}
  {{- end }}
  {{- with .root.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* XDG_RUNTIME_DIR is where `kubectl exec … wormhole requests list` looks for the control socket. */}}
{{- define "wormhole.env" -}}
env:
  - {name: XDG_RUNTIME_DIR, value: /run}
  - {name: HOME, value: /storage}
  {{- with .root.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "wormhole.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}
