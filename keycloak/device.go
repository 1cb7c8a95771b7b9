package keycloak

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// defaultInterval between two polls, and what slow_down adds to it (RFC 8628 §3.2, §3.5).
const defaultInterval = 5 * time.Second

// DeviceAuthorization is what a user needs in order to log in on another device (RFC 8628 §3.2).
type DeviceAuthorization struct {
	// UserCode is what the user types at VerificationURI; VerificationURIComplete, where there is one, has it already.
	UserCode                string
	VerificationURI         string
	VerificationURIComplete string
	// ExpiresIn is how long the codes are valid.
	ExpiresIn time.Duration
	// Interval is the least time between two polls.
	Interval time.Duration

	code sensitive.String
}

// DeviceAuth asks for the codes with which a user logs in on another device (RFC 8628 §3.1). With the scope
// offline_access DeviceToken brings an offline token.
//
// Errors: those of ClientCredentials.
func (c Client) DeviceAuth(ctx context.Context, scopes []string) (DeviceAuthorization, error) {
	if c.Provider.DeviceAuthorizationEndpoint == "" {
		return DeviceAuthorization{}, notOffered(opDeviceAuthorization, "device_authorization_endpoint", "use a browser on this machine to log in")
	}
	a := asked{op: opDeviceAuthorization, scopes: scopes}
	body, err := c.call(ctx, a, c.Provider.DeviceAuthorizationEndpoint, url.Values{})
	if err != nil {
		return DeviceAuthorization{}, err
	}
	var said struct {
		DeviceCode              string `json:"device_code"`
		UserCode                string `json:"user_code"`
		VerificationURI         string `json:"verification_uri"`
		VerificationURIComplete string `json:"verification_uri_complete"`
		ExpiresIn               int64  `json:"expires_in"`
		Interval                int64  `json:"interval"`
	}
	if json.Unmarshal(body, &said) != nil || said.DeviceCode == "" || said.UserCode == "" || said.VerificationURI == "" {
		return DeviceAuthorization{}, &Error{
			Op: a.op, Reason: ReasonIssuerInvalid, Description: "the answer lacks what RFC 8628 §3.2 requires",
			Hint: "look at what answers at the device_authorization_endpoint",
		}
	}
	d := DeviceAuthorization{
		UserCode: said.UserCode, VerificationURI: said.VerificationURI, VerificationURIComplete: said.VerificationURIComplete,
		ExpiresIn: time.Duration(said.ExpiresIn) * time.Second, Interval: time.Duration(said.Interval) * time.Second,
		code: sensitive.New(said.DeviceCode),
	}
	if d.Interval <= 0 {
		d.Interval = defaultInterval
	}
	return d, nil
}

// DeviceToken asks for the token until the user has logged in, has refused, or the codes have expired (RFC 8628 §3.4).
//
// Errors: those of ClientCredentials, and ReloginRequired where the user refused or was too late.
func (c Client) DeviceToken(ctx context.Context, d DeviceAuthorization) (Token, error) {
	interval := d.Interval
	for {
		timer := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return Token{}, noAnswer(opDeviceCode, ctx.Err())
		case <-timer.C:
		}
		token, err := c.post(ctx, asked{op: opDeviceCode}, url.Values{
			"grant_type": {GrantTypeDeviceCode}, "device_code": {d.code.Reveal()},
		})
		refused, ok := errors.AsType[*Error](err)
		switch {
		case ok && refused.Code == "authorization_pending":
		case ok && refused.Code == "slow_down":
			interval += defaultInterval
		default:
			return token, err
		}
	}
}
