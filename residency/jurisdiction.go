package residency

import "fmt"

// Jurisdiction is a country: an officially assigned ISO 3166-1 alpha-2 code in
// upper case. The zero value is no jurisdiction and matches nothing.
type Jurisdiction [2]byte

// String gives the code, or "" for the zero value.
func (j Jurisdiction) String() string {
	if j == (Jurisdiction{}) {
		return ""
	}
	return string(j[:])
}

// IsZero reports whether no jurisdiction is stated.
func (j Jurisdiction) IsZero() bool { return j == Jurisdiction{} }

// The officially assigned codes of ISO 3166-1 alpha-2, two letters each, in
// order. User-assigned (XX), exceptionally reserved (UK, EU) and former codes are not among them.
const assigned = "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZ" +
	"CACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFR" +
	"GAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJP" +
	"KEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZ" +
	"NANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURW" +
	"SASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZ" +
	"UAUGUMUSUYUZVAVCVEVGVIVNVUWFWSYEYTZAZMZW"

var isAssigned = func() map[Jurisdiction]bool {
	m := make(map[Jurisdiction]bool, len(assigned)/2)
	for i := 0; i < len(assigned); i += 2 {
		m[Jurisdiction{assigned[i], assigned[i+1]}] = true
	}
	return m
}()

// ParseJurisdiction reads a code. It accepts the officially assigned codes in
// upper case and nothing else.
func ParseJurisdiction(s string) (Jurisdiction, error) {
	if len(s) == 2 {
		if j := (Jurisdiction{s[0], s[1]}); isAssigned[j] {
			return j, nil
		}
	}
	return Jurisdiction{}, fmt.Errorf("not an officially assigned ISO 3166-1 alpha-2 code in upper case")
}

// Jurisdictions lists every officially assigned code in order.
func Jurisdictions() []Jurisdiction {
	out := make([]Jurisdiction, 0, len(assigned)/2)
	for i := 0; i < len(assigned); i += 2 {
		out = append(out, Jurisdiction{assigned[i], assigned[i+1]})
	}
	return out
}

// The member states of the European Union and the three other members of the
// European Economic Area, as of 2020-02-01.
const eea = "ATBEBGCYCZDEDKEEESFIFRGRHRHUIEITLTLULVMTNLPLPTROSESISK" + "ISLINO"

// InEEA reports whether j is a member of the EU or the EEA.
func (j Jurisdiction) InEEA() bool {
	for i := 0; i < len(eea); i += 2 {
		if eea[i] == j[0] && eea[i+1] == j[1] {
			return true
		}
	}
	return false
}

// Region is an operator-chosen name of a set of storage clusters in one
// jurisdiction: 1 to 32 of [a-z0-9-], the first a letter or digit.
type Region string

// ParseRegion reads a region's name.
func ParseRegion(s string) (Region, error) {
	if len(s) == 0 || len(s) > 32 {
		return "", fmt.Errorf("a region's name has 1 to 32 bytes")
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || i > 0 && c == '-') {
			return "", fmt.Errorf("a region's name is of [a-z0-9-], the first a letter or digit")
		}
	}
	return Region(s), nil
}
