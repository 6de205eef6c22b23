package consent

import (
	"fmt"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/tlv"
)

const version = 1

// The tags of a stored consent. Only ever appended.
const (
	tagID = iota + 1
	tagKind
	tagSubject
	tagWholeTenant
	tagClasses
	tagFrom
	tagTo
	tagPurposes
	tagRecipient // a list
	tagSupersedes
	tagMethod
	tagGrantor
	tagNoticeLanguage
	tagNoticeDigest
	tagStated
	tagPolicyVersion
	tagGranted
	tagGrantedBy
	tagExpires
	tagWithdrawn
	tagWithdrawnBy
	tagSuperseded
	tagSupersededBy
)

// Encode gives the stored form, a canonical tlv value.
func (c *Consent) Encode() []byte {
	e := tlv.NewEncoder(make([]byte, 0, 512), version)
	e.String(tagID, c.ID)
	e.Uint(tagKind, uint64(c.Kind))
	e.String(tagSubject, c.Subject)
	if c.WholeTenant {
		e.Uint(tagWholeTenant, 1)
	}
	e.Uint(tagClasses, uint64(c.Classes))
	e.String(tagFrom, c.From.String())
	e.String(tagTo, c.To.String())
	e.Uint(tagPurposes, uint64(c.Purposes))
	for _, r := range c.Recipients {
		e.StringItem(tagRecipient, r)
	}
	e.String(tagSupersedes, c.Supersedes)
	e.String(tagMethod, c.Evidence.Method)
	e.String(tagGrantor, c.Evidence.Grantor)
	e.String(tagNoticeLanguage, c.Evidence.NoticeLanguage)
	e.String(tagNoticeDigest, c.Evidence.NoticeDigest)
	e.Time(tagStated, c.Evidence.Stated)
	e.String(tagPolicyVersion, c.PolicyVersion)
	e.Time(tagGranted, c.Granted)
	e.String(tagGrantedBy, c.GrantedBy)
	e.Time(tagExpires, c.Expires)
	e.Time(tagWithdrawn, c.Withdrawn)
	e.String(tagWithdrawnBy, c.WithdrawnBy)
	e.Time(tagSuperseded, c.Superseded)
	e.String(tagSupersededBy, c.SupersededBy)
	return e.Encoded()
}

// Decode reads the stored form.
func Decode(b []byte) (Consent, error) {
	var c Consent
	d := tlv.NewDecoder(b, version)
	for d.Next() {
		c.field(d)
	}
	if err := d.Err(); err != nil {
		return Consent{}, fmt.Errorf("consent: %w", err)
	}
	return c, nil
}

func (c *Consent) field(d *tlv.Decoder) {
	switch d.Tag {
	case tagID:
		c.ID = d.String()
	case tagKind:
		c.Kind = residency.ConsentKind(d.Uint8())
	case tagSubject:
		c.Subject = d.String()
	case tagWholeTenant:
		c.WholeTenant = d.Uint() == 1
	case tagClasses:
		c.Classes = residency.DataClasses(d.Uint8())
	case tagFrom:
		copy(c.From[:], d.Value)
	case tagTo:
		copy(c.To[:], d.Value)
	case tagPurposes:
		c.Purposes = residency.Purposes(d.Uint32())
	case tagRecipient:
		c.Recipients = append(c.Recipients, d.String())
	case tagSupersedes:
		c.Supersedes = d.String()
	case tagMethod:
		c.Evidence.Method = d.String()
	case tagGrantor:
		c.Evidence.Grantor = d.String()
	case tagNoticeLanguage:
		c.Evidence.NoticeLanguage = d.String()
	case tagNoticeDigest:
		c.Evidence.NoticeDigest = d.String()
	case tagStated:
		c.Evidence.Stated = d.Time()
	case tagPolicyVersion:
		c.PolicyVersion = d.String()
	case tagGranted:
		c.Granted = d.Time()
	case tagGrantedBy:
		c.GrantedBy = d.String()
	case tagExpires:
		c.Expires = d.Time()
	case tagWithdrawn:
		c.Withdrawn = d.Time()
	case tagWithdrawnBy:
		c.WithdrawnBy = d.String()
	case tagSuperseded:
		c.Superseded = d.Time()
	case tagSupersededBy:
		c.SupersededBy = d.String()
	}
}
