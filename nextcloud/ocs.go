package nextcloud

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// envelope is the OCS answer around the data.
type envelope struct {
	// Code is the OCS status code: HTTP's own in v2, except 997 (not logged in) and 998 (not found).
	Code    int
	Message string
	Data    json.RawMessage
}

// parseOCS reads an OCS answer in JSON. False means that whatever answered does not speak OCS.
func parseOCS(body []byte) (envelope, bool) {
	var doc struct {
		OCS struct {
			Meta struct {
				StatusCode int    `json:"statuscode"`
				Message    string `json:"message"`
			} `json:"meta"`
			Data json.RawMessage `json:"data"`
		} `json:"ocs"`
	}
	if len(body) >= maxBody || json.Unmarshal(body, &doc) != nil || doc.OCS.Meta.StatusCode == 0 {
		return envelope{}, false
	}
	return envelope{Code: doc.OCS.Meta.StatusCode, Message: doc.OCS.Meta.Message, Data: doc.OCS.Data}, true
}

// userData is the part of cloud/user that is read.
type userData struct {
	ID          string  `json:"id"`
	DisplayName string  `json:"displayname"`
	Enabled     *bool   `json:"enabled"`
	Groups      *groups `json:"groups"`
}

// parseUser reads the data of cloud/user. False means that it names no user.
func parseUser(data json.RawMessage) (userData, bool) {
	var u userData
	if json.Unmarshal(data, &u) != nil || u.ID == "" || tooLong(u.ID) || tooLong(u.DisplayName) {
		return userData{}, false
	}
	return u, true
}

// tooLong is for names that are shown in a status: Nextcloud's own have at most 255 characters.
func tooLong(name string) bool { return utf8.RuneCountInString(name) > 255 }

// identity is the public form. An answer without "enabled" is taken as enabled: a disabled user does not get one.
func (u userData) identity() *Identity {
	id := &Identity{User: u.ID, DisplayName: u.DisplayName, Enabled: u.Enabled == nil || *u.Enabled}
	if u.Groups != nil {
		id.Groups = *u.Groups
	}
	return id
}

// groups is a list of group ids as PHP writes it: a list whose keys have a gap becomes an object, and an id of digits
// only may become a number.
type groups []string

func (g *groups) UnmarshalJSON(raw []byte) error {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(raw, &object); err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(object)) {
			list = append(list, object[key])
		}
	}
	out := make(groups, 0, len(list))
	for _, item := range list {
		name, err := groupID(item)
		if err != nil {
			return err
		}
		out = append(out, name)
	}
	*g = out
	return nil
}

func groupID(raw json.RawMessage) (string, error) {
	text := strings.TrimSpace(string(raw))
	if number := json.Number(text); text != "" && text[0] != '"' {
		_, err := number.Int64()
		return text, err
	}
	var name string
	if err := json.Unmarshal(raw, &name); err != nil {
		return "", err
	}
	if name == "" || tooLong(name) {
		return "", errors.New("a group without a name, or with one that is no name")
	}
	return name, nil
}
