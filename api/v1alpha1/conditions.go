package v1alpha1

// Condition types.
const (
	// ConditionReady is True while the Secret holds a token that is valid now and not known to be rejected. A failed
	// refresh leaves it True as long as the last token lives; lastAttempt tells of the failure. On an issuer it is True
	// when discovery has succeeded.
	ConditionReady = "Ready"
	// ConditionCheckPassed is the word of the server in spec.check about the token: True, False or Unknown.
	ConditionCheckPassed = "CheckPassed"
	// ConditionLifetimeSufficient is False when tokens live too short for a changed Secret to reach a volume in time.
	ConditionLifetimeSufficient = "LifetimeSufficient"
	// ConditionReconciling is present and True while the operator works towards the spec (kstatus).
	ConditionReconciling = "Reconciling"
	// ConditionStalled is present and True when only a change of an object in the cluster can help (kstatus).
	ConditionStalled = "Stalled"
)

// GrantConditions are the types of a TokenGrant's conditions.
var GrantConditions = []string{ConditionReady, ConditionCheckPassed, ConditionLifetimeSufficient, ConditionReconciling, ConditionStalled}

// Reason says why a condition has its status. docs/reasons.md has an anchor with cause and cure for each.
type Reason = string

// The catalogue of reasons. A test keeps it equal to docs/reasons.md and to what keycloak and nextcloud can answer.
const (
	// ReasonPublished: the Secret holds a verified token.
	ReasonPublished Reason = "Published"
	// ReasonPending: nothing has been tried yet.
	ReasonPending Reason = "Pending"
	// ReasonSuspended: spec.suspend is true; the Secret stays as it is.
	ReasonSuspended Reason = "Suspended"
	// ReasonInvalidSpec: the spec cannot work, and the message says which field.
	ReasonInvalidSpec Reason = "InvalidSpec"
	// ReasonFieldUnknown: the spec has a field that the running operator does not know, and the message says which. What is
	// published stays, nothing new is minted.
	ReasonFieldUnknown Reason = "FieldUnknown"
	// ReasonDiscovered: the issuer's discovery document was read and is sound.
	ReasonDiscovered Reason = "Discovered"

	// ReasonIssuerNotFound: no issuer of that kind and name.
	ReasonIssuerNotFound Reason = "IssuerNotFound"
	// ReasonIssuerNotReady: the issuer has never been discovered.
	ReasonIssuerNotReady Reason = "IssuerNotReady"
	// ReasonIssuerUnreachable: the issuer gave no answer, or a server error.
	ReasonIssuerUnreachable Reason = "IssuerUnreachable"
	// ReasonIssuerInvalid: the URL answers, but not as an issuer.
	ReasonIssuerInvalid Reason = "IssuerInvalid"
	// ReasonNotAllowed: the ClusterTokenIssuer does not let this namespace use its service account for this audience.
	ReasonNotAllowed Reason = "NotAllowed"
	// ReasonCredentialMissing: a Secret or ConfigMap, or its key, is missing or empty.
	ReasonCredentialMissing Reason = "CredentialMissing"

	// ReasonClientRejected: the issuer refused the client's authentication.
	ReasonClientRejected Reason = "ClientRejected"
	// ReasonServiceAccountDisabled: the client has no service account, or its user is disabled.
	ReasonServiceAccountDisabled Reason = "ServiceAccountDisabled"
	// ReasonGrantTypeUnsupported: the issuer does not know the grant type.
	ReasonGrantTypeUnsupported Reason = "GrantTypeUnsupported"
	// ReasonExchangeNotEnabled: the client may not exchange tokens.
	ReasonExchangeNotEnabled Reason = "ExchangeNotEnabled"
	// ReasonAudienceNotAvailable: the client has no audience mapper for the audience, or it is unknown or disabled.
	ReasonAudienceNotAvailable Reason = "AudienceNotAvailable"
	// ReasonNotInSubjectAudience: the client is neither in the subject token's audience nor its authorized party.
	ReasonNotInSubjectAudience Reason = "NotInSubjectAudience"
	// ReasonScopeInvalid: a scope is unknown to the issuer or not assigned to the client.
	ReasonScopeInvalid Reason = "ScopeInvalid"
	// ReasonSubjectTokenInvalid: the issuer refused the subject token, or the login holds none.
	ReasonSubjectTokenInvalid Reason = "SubjectTokenInvalid"
	// ReasonImpersonationUnsupported: the issuer's token exchange has no requested_subject.
	ReasonImpersonationUnsupported Reason = "ImpersonationUnsupported"
	// ReasonImpersonationForbidden: the service account lacks a permission to impersonate.
	ReasonImpersonationForbidden Reason = "ImpersonationForbidden"
	// ReasonReloginRequired: the offline session is gone; the user must log in again.
	ReasonReloginRequired Reason = "ReloginRequired"
	// ReasonEncryptionKeyMissing: a session is to be kept, and the operator has no key to encrypt it with, or not the one
	// that it was encrypted with; or a login is encrypted, and no import key of its namespace decrypts it.
	ReasonEncryptionKeyMissing Reason = "EncryptionKeyMissing"
	// ReasonRequestRefused: the issuer refused the request for another cause; the message has its words.
	ReasonRequestRefused Reason = "RequestRefused"
	// ReasonThrottled: the server asks to slow down.
	ReasonThrottled Reason = "Throttled"

	// ReasonTokenMalformed: the answer holds no token that can be verified.
	ReasonTokenMalformed Reason = "TokenMalformed"
	// ReasonTokenNotVerified: signature, issuer, authorized party or times are wrong.
	ReasonTokenNotVerified Reason = "TokenNotVerified"
	// ReasonTokenWrongAudience: the audience is not exactly the one asked for.
	ReasonTokenWrongAudience Reason = "TokenWrongAudience"
	// ReasonTokenLifetimeTooShort: the token lives too short for a changed Secret to reach a volume in time.
	ReasonTokenLifetimeTooShort Reason = "TokenLifetimeTooShort"
	// ReasonTokenLifetimeSufficient: the token lives long enough for a changed Secret to reach a volume in time.
	ReasonTokenLifetimeSufficient Reason = "TokenLifetimeSufficient"
	// ReasonTokenExpired: the published token has expired and no new one could be had.
	ReasonTokenExpired Reason = "TokenExpired"

	// ReasonNextcloudAccepted: Nextcloud answered who the token is, and that is who it should be.
	ReasonNextcloudAccepted Reason = "NextcloudAccepted"
	// ReasonNextcloudRejected: Nextcloud does not accept the token.
	ReasonNextcloudRejected Reason = "NextcloudRejected"
	// ReasonNextcloudWrongUser: Nextcloud takes the token for another user than expected.
	ReasonNextcloudWrongUser Reason = "NextcloudWrongUser"
	// ReasonNextcloudForbidden: the user is disabled, or its groups are not as expected.
	ReasonNextcloudForbidden Reason = "NextcloudForbidden"
	// ReasonNextcloudInvalid: the URL answers, but not as a Nextcloud that serves this host name.
	ReasonNextcloudInvalid Reason = "NextcloudInvalid"
	// ReasonCredentialRejected: Nextcloud refuses the login that is to make an app password; it is not tried again as it is.
	ReasonCredentialRejected Reason = "CredentialRejected"
	// ReasonNextcloudUnreachable: Nextcloud gave no answer, or a server error.
	ReasonNextcloudUnreachable Reason = "NextcloudUnreachable"
	// ReasonNextcloudMaintenance: Nextcloud is in maintenance mode or waits for an upgrade.
	ReasonNextcloudMaintenance Reason = "NextcloudMaintenance"

	// ReasonNotRevoked: of an event only: a TokenGrant was deleted, and something that should have ended with it did not.
	ReasonNotRevoked Reason = "NotRevoked"

	// ReasonSecretConflict: a Secret of that name exists and is not this grant's; it is left untouched.
	ReasonSecretConflict Reason = "SecretConflict"
	// ReasonSecretNotWritten: the API server refused the Secret.
	ReasonSecretNotWritten Reason = "SecretNotWritten"
)
