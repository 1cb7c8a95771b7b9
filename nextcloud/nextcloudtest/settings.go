package nextcloudtest

import (
	"encoding/json"
	"time"
)

// Down is what is broken below Nextcloud.
type Down string

// What can be broken.
const (
	// DownNone: nothing.
	DownNone Down = ""
	// DownPHP: the web server answers 502 to everything.
	DownPHP Down = "php"
	// DownDatabase: everything is an empty 500.
	DownDatabase Down = "database"
)

// Settings is the configuration, by the names of occ user_oidc:provider and of config.php where they have one.
type Settings struct {
	Issuer       string `json:"issuer"`
	ClientID     string `json:"clientID"`
	ProviderID   int    `json:"providerID"`
	MappingClaim string `json:"mappingClaim"`
	// UniqueUID: a user that a token creates is named by the hex SHA-256 of "<providerID>_0_<claim>".
	UniqueUID bool `json:"uniqueUID"`
	// CheckBearer is off in a fresh Nextcloud; here it starts on.
	CheckBearer        bool `json:"checkBearer"`
	BearerProvisioning bool `json:"bearerProvisioning"`
	// GroupWhitelist is a regular expression of which a group of the token's claim "groups" must match; empty means no restriction.
	GroupWhitelist string `json:"groupWhitelist"`
	// AutoProvision creates users that are unknown. SoftAutoProvision lets tokens be users of other backends too.
	AutoProvision     bool `json:"autoProvision"`
	SoftAutoProvision bool `json:"softAutoProvision"`
	// SelfEncoded validates by signature and claims, UserInfo by asking the issuer's userinfo endpoint.
	SelfEncoded   bool `json:"selfEncoded"`
	UserInfo      bool `json:"userInfo"`
	AudienceCheck bool `json:"audienceCheck"`
	// IssuerUnreachable cuts the way from Nextcloud to the issuer.
	IssuerUnreachable bool `json:"issuerUnreachable"`

	Maintenance    bool `json:"maintenance"`
	NeedsDBUpgrade bool `json:"needsDbUpgrade"`
	Down           Down `json:"down"`
	// TrustedDomains are the host names that are served, without port; none means any.
	TrustedDomains []string `json:"trustedDomains"`
	// Latency is added to every answer.
	Latency Duration `json:"latency"`
}

// Duration is a time.Duration that JSON shows as text, such as "1.5s".
type Duration struct{ time.Duration }

// MarshalJSON writes the text form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the text form.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	var err error
	d.Duration, err = time.ParseDuration(text)
	return err
}

// defaults is a Nextcloud that was set up for bearer tokens.
func defaults(o Options) Settings {
	s := Settings{
		Issuer: o.Issuer, ClientID: o.ClientID, ProviderID: 1, MappingClaim: o.MappingClaim,
		CheckBearer: true, AutoProvision: true, SoftAutoProvision: true, SelfEncoded: true, AudienceCheck: true,
	}
	if s.ClientID == "" {
		s.ClientID = "nextcloud"
	}
	if s.MappingClaim == "" {
		s.MappingClaim = "preferred_username"
	}
	return s
}

// Settings returns the configuration as it is now.
func (s *Server) Settings() Settings {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.settings
}

// Configure changes the configuration. The issuer's keys stay cached, unless the issuer itself changes.
func (s *Server) Configure(change func(*Settings)) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	before := s.state.settings.Issuer
	change(&s.state.settings)
	if s.state.settings.Issuer != before {
		s.state.issuer = issuerCache{}
	}
}

// SetMaintenance is occ maintenance:mode.
func (s *Server) SetMaintenance(on bool) { s.Configure(func(c *Settings) { c.Maintenance = on }) }

// SetCheckBearer is occ user_oidc:provider NAME --check-bearer, which also makes Nextcloud read the issuer's keys anew.
func (s *Server) SetCheckBearer(on bool) {
	s.Configure(func(c *Settings) { c.CheckBearer = on })
	s.FlushJWKS()
}

// FlushJWKS forgets the issuer's keys, as any change by occ user_oidc:provider does.
func (s *Server) FlushJWKS() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.issuer.keysAt = time.Time{}
}
