package nextcloudtest

import (
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// scene brings a fresh stand-in into the state in which a run of recordings was made.
type scene struct {
	state   string
	numbers string // single numbers and ranges
	realm   string // "" is nextcloud-mcp
	set     func(*stage)
	// before holds what was done to the server between two recordings.
	before map[string]func(*stage)
}

const lab = "nc-lab"

var scenes = []scene{
	{state: "as installed, nobody logged in", numbers: "010-017"},
	{state: "alice has a password", numbers: "020-022"},
	{state: "no provider is configured", numbers: "030", set: func(s *stage) { s.configure(func(c *Settings) { c.Issuer = "" }) }},
	{state: "check-bearer is off", numbers: "031", set: func(s *stage) { s.server.SetCheckBearer(false) }},
	{state: "the issuer is out of Nextcloud's reach", numbers: "032-034", set: func(s *stage) { s.configure(func(c *Settings) { c.IssuerUnreachable = true }) }},
	{state: "a valid token, cold and warm", numbers: "040-041"},
	{state: "a valid token of alice", numbers: "100-116"},
	{state: "a token for another audience", numbers: "120-136"},
	{state: "a token with a broken signature", numbers: "140-156"},
	{state: "a bearer that is no token", numbers: "160-176"},
	{state: "tokens and schemes of all sorts", numbers: "180-192 195-196 200"},
	{state: "trusted_domains is set", numbers: "197-198", set: func(s *stage) { s.configure(func(c *Settings) { c.TrustedDomains = []string{"127.0.0.1"} }) }},
	{state: "a service account, auto_provision off", numbers: "202-203", set: func(s *stage) { s.configure(func(c *Settings) { c.AutoProvision = false }) }},
	{state: "a service account is provisioned", numbers: "204-209", before: map[string]func(*stage){"207": bearerProvisioning}},
	{state: "alice by password", numbers: "220-236", set: aliceTest},
	{state: "alice by app password", numbers: "240-283", set: aliceTest, before: map[string]func(*stage){
		"282": func(s *stage) { s.server.state.rotate(s.appPassword("app-8")) },
	}},
	{state: "an expired token", numbers: "300-308"},
	{state: "a token of an admin", numbers: "310-330", set: func(s *stage) {
		bearerProvisioning(s)
		aliceTest(s)
		s.server.PutUser(User{ID: "service-account-nextcloud-mcp-server", Backend: backendOIDC})
	}},
	{state: "a token of a disabled user", numbers: "340-356", set: func(s *stage) { s.server.DisableUser("bob") }},
	{state: "a disabled user by password", numbers: "360-368", set: func(s *stage) { s.server.DisableUser("bob") }},
	{state: "the user is enabled again", numbers: "369", set: bearerProvisioning},
	{state: "wrong passwords until the address is throttled", numbers: "501-512 520-529", realm: lab, set: aliceLab},
	{state: "the provider has another realm now", numbers: "540", realm: lab},
	{
		state: "an unknown user, auto_provision off", numbers: "550-553", realm: lab, set: func(s *stage) { s.configure(func(c *Settings) { c.AutoProvision = false }) },
		before: map[string]func(*stage){"552": bearerProvisioning},
	},
	{state: "a known user, auto_provision off", numbers: "554", realm: lab, set: func(s *stage) {
		aliceTest(s)
		s.configure(func(c *Settings) { c.AutoProvision = false })
	}},
	{state: "an unknown user is provisioned", numbers: "555-557", realm: lab, set: bearerProvisioning},
	{state: "soft_auto_provision off", numbers: "558-560", realm: lab, set: func(s *stage) {
		bearerProvisioning(s)
		s.configure(func(c *Settings) { c.SoftAutoProvision = false })
	}},
	{state: "ids are hashed", numbers: "561-564 567", realm: lab, set: func(s *stage) {
		bearerProvisioning(s)
		s.configure(func(c *Settings) { c.UniqueUID = true })
		s.server.PutUser(User{ID: "service-account-nextcloud-mcp-server", Backend: backendOIDC})
	}, before: map[string]func(*stage){"563": mapping("sub"), "567": mapping("preferred_username")}},
	{
		state: "other claims are the id", numbers: "565-566 568-569", realm: lab, set: bearerProvisioning,
		before: map[string]func(*stage){"565": mapping("sub"), "568": mapping("nosuchclaim"), "569": mapping("email")},
	},
	{state: "the audience check is off", numbers: "570", realm: lab, set: func(s *stage) {
		aliceLab(s)
		s.configure(func(c *Settings) { c.AudienceCheck = false })
	}},
	{state: "logins are restricted to groups", numbers: "571", realm: lab, set: func(s *stage) { s.configure(func(c *Settings) { c.GroupWhitelist = "^sync$" }) }},
	{state: "maintenance mode", numbers: "600-610", realm: lab, set: func(s *stage) {
		aliceLab(s)
		s.server.SetMaintenance(true)
	}, before: map[string]func(*stage){"610": func(s *stage) { s.server.SetMaintenance(false) }}},
	{state: "an upgrade is pending", numbers: "611-614", realm: lab, set: func(s *stage) {
		aliceLab(s)
		s.configure(func(c *Settings) { c.NeedsDBUpgrade = true })
	}, before: map[string]func(*stage){"614": func(s *stage) { s.configure(func(c *Settings) { c.NeedsDBUpgrade = false }) }}},
	{state: "PHP is down", numbers: "615-617", realm: lab, set: func(s *stage) {
		aliceLab(s)
		s.configure(func(c *Settings) { c.Down = DownPHP })
	}, before: map[string]func(*stage){"617": func(s *stage) { s.configure(func(c *Settings) { c.Down = DownNone }) }}},
	{state: "validation by signature and by userinfo", numbers: "650-654", realm: lab, set: validators(true, true)},
	{state: "validation by userinfo only", numbers: "660-666", realm: lab, set: validators(false, true)},
	{state: "a logout at the issuer", numbers: "670-674", realm: lab, set: validators(false, true), before: map[string]func(*stage){
		"671": func(s *stage) { s.issuer.logout(s.lastSession) },
		"672": validators(true, true),
		"673": validators(true, false),
	}},
	{state: "tokens that were not meant for Nextcloud", numbers: "680-683", realm: lab, set: aliceLab},
	{state: "the issuer rotates its key, then hangs", numbers: "700-711", realm: lab, set: aliceLab, before: map[string]func(*stage){
		"701": func(s *stage) { s.issuer.publish(keyLabNew, keyLab) },
		"705": func(s *stage) { s.shift += cacheAge + time.Second },
		"707": func(s *stage) { s.issuer.publish(keyLabNew) },
		"708": func(s *stage) { s.server.SetCheckBearer(true) },
		"710": func(s *stage) {
			s.issuer.setHanging(true)
			s.server.FlushJWKS()
		},
		"711": func(s *stage) { s.issuer.setHanging(false) },
	}},
	{state: "the session-based impersonate app is installed", numbers: "734 747", realm: lab, set: func(s *stage) { s.issuer.publish(keyLabNew) }},
	{state: "Nextcloud's own issuer is trusted too", numbers: "787", realm: lab, set: func(s *stage) {
		aliceLab(s)
		s.issuer.publish(keyLabNew)
	}},
	{state: "as at the start", numbers: "900", set: aliceTest},
}

// notCovered says which recordings the stand-in does not answer as recorded, and why nobody needs it to.
var notCovered = []struct{ numbers, why string }{
	{"193-194", "CalDAV and pages: not what a token is checked with"},
	{"530-531", "confirming a password: needs a web session to be of use"},
	{"720-733 735-737 745-746 748-750", "sessions and the impersonate app: bound to cookies, which the stand-in does not know"},
	{"770-786 788", "Nextcloud as an issuer (the oidc app): it has no grant that this project uses"},
}

func bearerProvisioning(s *stage) { s.configure(func(c *Settings) { c.BearerProvisioning = true }) }

func mapping(claim string) func(*stage) {
	return func(s *stage) { s.configure(func(c *Settings) { c.MappingClaim = claim }) }
}

func validators(selfEncoded, userInfo bool) func(*stage) {
	return func(s *stage) {
		aliceLab(s)
		s.server.PutUser(User{ID: "bob", DisplayName: "Bob Test", Email: "bob@example.test"})
		s.configure(func(c *Settings) { c.SelfEncoded, c.UserInfo = selfEncoded, userInfo })
	}
}

func aliceTest(s *stage) { alice(s, "Alice Test", "alice@example.test") }
func aliceLab(s *stage)  { alice(s, "Alice Lab", "alice@lab.test") }

func alice(s *stage, name, email string) {
	s.server.PutUser(User{ID: "alice", DisplayName: name, Email: email, Password: password})
}

// password is everybody's.
var password = sensitive.New("the account's password")

// newStage is a stand-in as it was at the first recording: four local accounts, and check-bearer on.
func newStage(t *testing.T, sc scene) *stage {
	t.Helper()
	realm := sc.realm
	if realm == "" {
		realm = "nextcloud-mcp"
	}
	s := startStage(t, realm, []User{
		{ID: "admin", DisplayName: "Admin Test", Email: "admin@example.test", Groups: []string{groupAdmin}},
		{ID: "alice", Password: password},
		{ID: "bob", Password: password},
		{ID: "mcp-sync"},
	})
	if sc.set != nil {
		sc.set(s)
	}
	return s
}
