{{/* The name of the release's objects. */}}
{{- define "symbolon.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name of objects without a namespace. It is unique for each of several installations with watchNamespaces. */}}
{{- define "symbolon.clusterName" -}}
{{- if .Values.watchNamespaces }}
{{- printf "%s-%s" .Release.Namespace (include "symbolon.fullname" .) }}
{{- else }}
{{- include "symbolon.fullname" . }}
{{- end }}
{{- end }}

{{- define "symbolon.serverClusterRole" -}}
{{ include "symbolon.clusterName" . }}-server
{{- end }}

{{- define "symbolon.selectorLabels" -}}
app.kubernetes.io/name: symbolon
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* The chart's own labels override commonLabels, because Services, monitors and policies select by them. */}}
{{- define "symbolon.labels" -}}
{{- include "symbolon.labelsWith" (dict "root" . "labels" dict) }}
{{- end }}

{{/* The labels of an object that has its own labels in the values. Those override commonLabels, and the chart's own labels
     override both. Argument: dict root, labels. */}}
{{- define "symbolon.labelsWith" -}}
{{- $ours := include "symbolon.selectorLabels" .root | fromYaml }}
{{- with .root }}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $ours "app.kubernetes.io/version" (toString .Chart.AppVersion) }}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .Release.Service }}
{{- end }}
{{- merge $ours (default dict .labels) (default dict .root.Values.commonLabels) | toYaml }}
{{- end }}

{{- define "symbolon.serviceAccountName" -}}
{{- $name := .Values.serviceAccount.name }}
{{- if .Values.serviceAccount.create }}
{{- $name = default (include "symbolon.fullname" .) $name }}
{{- end }}
{{- $name = required "serviceAccount.name is needed with serviceAccount.create: false" $name }}
{{- if hasSuffix "-identity" $name }}
{{- fail (printf "serviceAccount.name: %s is the name of the account of the Identity %s: choose another name" $name (trimSuffix "-identity" $name)) }}
{{- end }}
{{- $name }}
{{- end }}

{{/* The operator's user name at the API server. */}}
{{- define "symbolon.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "symbolon.serviceAccountName" . }}
{{- end }}

{{- define "symbolon.image" -}}
{{- $repository := list .Values.image.registry .Values.image.repository | compact | join "/" }}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* Refuses values that contradict each other, before anything is installed. */}}
{{- define "symbolon.check" -}}
{{- $accepted := include "symbolon.identityNamespaces" . | fromJsonArray }}
{{- range $value := list "defaultIdentity" "embeddedIdentity" }}
{{- with index $.Values $value }}
{{- if not (has (splitList "/" . | first) $accepted) }}
{{- fail (printf "%s: %s is not in a namespace in which Identities are accepted: add %s to identityNamespaces (now %s)" $value . (splitList "/" . | first) (join ", " $accepted)) }}
{{- end }}
{{- end }}
{{- end }}
{{- /* Not in the schema, because Helm's error would name another value. */}}
{{- $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels }}
{{- range $value := list "serviceMonitor" "prometheusRule" "grafanaDashboard" }}
{{- $_ := set $labels (printf "%s.labels" $value) (default dict (index $.Values $value)).labels }}
{{- end }}
{{- range $value, $set := $labels }}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" }}
{{- if hasKey (default dict $set) $label }}
{{- fail (printf "%s: %s is the chart's own label, by which other objects select the release: use another label" $value $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- $known := list }}
{{- range (.Files.Get "files/alerts.yaml" | fromYaml).groups }}
{{- range .rules }}
{{- $known = append $known .alert }}
{{- end }}
{{- end }}
{{- range (default dict .Values.prometheusRule).disabledAlerts }}
{{- if not (has . $known) }}
{{- fail (printf "prometheusRule.disabledAlerts: there is no alert %s: use one of %s" . (join ", " $known)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The namespaces in which Identities are accepted: a JSON list. It keeps the order of the values, because an issuer belongs
     to the first namespace. */}}
{{- define "symbolon.identityNamespaces" -}}
{{- default (list .Release.Namespace) .Values.identityNamespaces | uniq | toJson }}
{{- end }}

{{/* The namespaces in which an operator with watchNamespaces works: a JSON list. */}}
{{- define "symbolon.namespaces" -}}
{{- concat .Values.watchNamespaces (include "symbolon.identityNamespaces" . | fromJsonArray) | uniq | sortAlpha | toJson }}
{{- end }}

{{/* Whether to render an object whose kind the API server may not know.
     Argument: dict root, enabled (auto, true or false), api (list of group/version/kind). */}}
{{- define "symbolon.wanted" -}}
{{- if eq (toString .enabled) "auto" }}
{{- range .api }}
{{- if $.root.Capabilities.APIVersions.Has . }}true{{ end }}
{{- end }}
{{- else if .enabled }}true{{ end }}
{{- end }}

{{/* The termination grace period of a pod. A server waits 5 s until it gets no new requests, and 25 s for the requests in
     progress. */}}
{{- define "symbolon.terminationGrace" -}}
{{- $grace := .Values.terminationGracePeriodSeconds }}
{{- if kindIs "invalid" $grace }}{{ ternary 35 30 (not (empty .Values.embeddedIdentity)) }}{{ else }}{{ $grace }}{{ end }}
{{- end }}

{{/* The API version of MutatingAdmissionPolicy to use. Empty: none. */}}
{{- define "symbolon.mutatingVersion" -}}
{{- $group := "admissionregistration.k8s.io" }}
{{- $policies := .Values.admissionPolicies }}
{{- if and $policies.enabled $policies.protectCreators }}
{{- if .Capabilities.APIVersions.Has (printf "%s/v1/MutatingAdmissionPolicy" $group) }}
{{- if $policies.stampCreators }}{{ $group }}/v1{{ end }}
{{- else if .Capabilities.APIVersions.Has (printf "%s/v1beta1/MutatingAdmissionPolicy" $group) }}
{{- if $policies.stampCreators }}{{ $group }}/v1beta1{{ end }}
{{- else if eq (toString $policies.stampCreators) "true" }}{{ $group }}/v1{{ end }}
{{- end }}
{{- end }}

{{/* A CEL expression: whether the policies do not bind the user. */}}
{{- define "symbolon.exempt" -}}
{{- $exempt := .Values.admissionPolicies.exempt -}}
(request.userInfo.username in {{ default list $exempt.users | toJson }} || (has(request.userInfo.groups) && request.userInfo.groups.exists(g, g in {{ default list $exempt.groups | toJson }})))
{{- end }}

{{/* The spec of a policy's binding. With watchNamespaces it applies only to the installation's namespaces. */}}
{{- define "symbolon.policyBinding" -}}
spec:
  policyName: {{ .name }}
  {{- if .validates }}
  validationActions: [Deny]
  {{- end }}
  {{- if .root.Values.watchNamespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values: {{ include "symbolon.namespaces" .root }}
  {{- end }}
{{- end }}

{{/* What Identities may ask for, as JSON with every list. To the operator, a list that is missing allows anything; but a list
     that a parent chart has set to null must allow nothing. */}}
{{- define "symbolon.allowed" -}}
{{- $lists := list "hosts" "gateways" "ingressClassNames" "ingressAnnotations" "serviceTypes" "serviceAnnotations" "inheritedLabels" "inheritedAnnotations" "podLabels" "podAnnotations" "priorityClassNames" "nodeSelector" "tolerations" "affinity" "resources" "storageClassNames" }}
{{- include "symbolon.lists" (dict "of" (default dict .Values.identities).allowed "lists" $lists) }}
{{- end }}

{{/* What mutating webhooks may add, as JSON with every list. */}}
{{- define "symbolon.webhooks" -}}
{{- $lists := list "labels" "annotations" "podFields" "containerFields" "serviceFields" "containers" "volumes" }}
{{- include "symbolon.lists" (dict "of" .Values.admissionPolicies.webhooks "lists" $lists) }}
{{- end }}

{{/* Values as JSON; a missing list becomes an empty one. Argument: dict of, lists (names). */}}
{{- define "symbolon.lists" -}}
{{- $given := default dict .of }}
{{- $all := dict }}
{{- range .lists }}
{{- $_ := set $all . (default list (get $given .)) }}
{{- end }}
{{- $all | toJson }}
{{- end }}
