{{/* The operator's rights, in parts: it has each right only where it needs it. It has no "*", and no escalate, bind or
     impersonate. It can give rights to servers because it has them itself. */}}

{{/* For the namespaces of tenants: all, or those of watchNamespaces. */}}
{{- define "symbolon.rules.tenants" -}}
- apiGroups: [symbolon.dev]
  resources: [identities, scopes, oauthclients, serviceaccesstokens, users]
  verbs: [get, list, watch]
- apiGroups: [symbolon.dev]
  resources: [identities/status, scopes/status, oauthclients/status, serviceaccesstokens/status, users/status]
  verbs: [update]
# To find out whether there is anything to revoke if the Identity of a token is in a namespace that is not accepted.
- apiGroups: [symbolon.dev]
  resources: [credentials]
  verbs: [get]
# Lists and watches select by label and get only metadata. The operator writes no Secret without its label.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, delete]
# For the labels that selectors match.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* For the namespaces in which Identities are accepted: Credentials, and the objects that run an Identity, which the operator
     writes by server-side apply. */}}
{{- define "symbolon.rules.identities" -}}
- apiGroups: [symbolon.dev]
  resources: [credentials]
  verbs: [get, list, watch, create, update, delete]
- apiGroups: [symbolon.dev]
  resources: [credentials/status]
  verbs: [get, patch]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
# To enlarge volumes of Identities. The operator neither creates nor deletes a claim.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, patch]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
# To report why pods of an Identity are not ready.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: [get, list, watch, create, patch, delete]
# Kinds that not every cluster has, so the operator does not watch them.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, create, patch, delete]
{{- end }}

{{/* The rights of an Identity's servers in the namespaces of tenants. */}}
{{- define "symbolon.rules.server" -}}
- apiGroups: [symbolon.dev]
  resources: [identities, scopes, oauthclients, serviceaccesstokens]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
{{- end }}
