package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/domicile-project/domicile/client"
	annotationsv1 "github.com/domicile-project/domicile/proto/gen/residency/annotations/v1"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
)

// consentKinds say which consent meets a requirement, in the order in which the
// gateway asks for them.
var consentKinds = []struct{ requirement, kind string }{
	{"consent", "BORDER_CROSSING"}, {"agreement", "RESIDENCE_AGREEMENT"}, {"opt-in", "MARKETING_OPT_IN"},
	{"parental-consent", "PARENTAL"}, {"permission", "INSPECTION_PERMISSION"},
}

// consentFor gives the consent that a decision lacks, or nil when none would help.
func consentFor(d *residencyv1.Decision) *client.NeededConsent {
	if d.GetOutcome() == residencyv1.Outcome_OUTCOME_ALLOW {
		return nil
	}
	for _, k := range consentKinds {
		if !slices.Contains(d.GetMissing(), k.requirement) {
			continue
		}
		c := &client.NeededConsent{
			Kind: k.kind, DataClass: enumText(d.GetDataClass()),
			From: d.GetFromJurisdiction(), To: d.GetToJurisdiction(),
		}
		if d.GetPurpose() != 0 {
			c.Purpose = enumText(d.GetPurpose())
		}
		return c
	}
	return nil
}

// remedyCommands name the command that meets a requirement, and its flag where it has many.
var remedyCommands = [residency.NumRequirements]string{
	residency.RequireAgreement:       "tenant register, or tenant update: --agreement-…",
	residency.RequirePurpose:         "record put: --purpose",
	residency.RequireNotRestricted:   "record lift, or drive lift",
	residency.RequireOptIn:           "consent grant: --kind MARKETING_OPT_IN",
	residency.RequireCollection:      "record unobject",
	residency.RequireParentalConsent: "consent grant: --kind PARENTAL",
	residency.RequirePermission:      "consent grant: --kind INSPECTION_PERMISSION",
	residency.RequireAbuseCase:       "case open",
	residency.RequireRegistered:      "recipient register",
	residency.RequireFunction:        "recipient update: --function",
	residency.RequireSafeguard:       "recipient update: --safeguard",
	residency.RequireNotice:          "disclosure notice",
	residency.RequireNoObjection:     "disclosure lift-objection",
	residency.RequireLegalOrder:      "order record, or order approve",
	residency.RequireInformalGrant:   "disclosure request, or disclosure grant",
	residency.RequireNecessity:       "disclosure disclose: --necessity",
	residency.RequireAssetTransfer:   "disclosure disclose: --stage",
}

// printRemedies writes what would meet each requirement that a refusal lacks, a consent's
// own command apart.
func (a *app) printRemedies(w io.Writer, d *client.Denied) {
	for _, name := range d.Missing {
		r, err := residency.ParseRequirement(name)
		if err != nil || r == residency.RequireConsent {
			continue
		}
		fmt.Fprintf(w, "  %-9s %s\n", "needed", policy.Remedy(r))
		if c := remedyCommands[r]; c != "" {
			fmt.Fprintf(w, "            (%s %s)\n", a.name(), c)
		}
	}
}

// printNeeded writes which consent would permit what was refused, and the command that
// records it.
func (a *app) printNeeded(w io.Writer, c *client.NeededConsent, tenant, subject string) {
	fmt.Fprintf(w, "  %-9s record a %s consent, as a caller in %s:\n", "needed", c.Kind, c.From)
	fmt.Fprintf(w, "            %s\n", strings.Join(a.grantCommand(c, tenant, subject), " \\\n              "))
}

// grantCommand is the command that would record the consent that is needed, in
// parts that fit on a line each.
func (a *app) grantCommand(c *client.NeededConsent, tenant, subject string) []string {
	scope := "--whole-tenant"
	if subject != "" {
		scope = "--subject " + quoted(subject)
	}
	if tenant == "" {
		tenant = "TENANT"
	}
	purpose := c.Purpose
	if purpose == "" {
		purpose = "PURPOSE"
	}
	return []string{
		fmt.Sprintf("%s consent grant %s --kind %s %s", a.again(c.From, c.To), quoted(tenant), c.Kind, scope),
		fmt.Sprintf("--class %s --purpose %s", c.DataClass, purpose),
		fmt.Sprintf("--from-jurisdiction %s --to-jurisdiction %s", c.From, c.To),
		"--method … --grantor … --notice-language … --notice FILE",
	}
}

// printAtHome writes that a call is answered at home alone, where no consent would change that.
func (a *app) printAtHome(w io.Writer, d *client.Denied) {
	if d.Consent != nil || len(d.Missing) > 0 || d.From == "" || d.To == "" || d.From == d.To || !strings.HasPrefix(d.Reason, "CROSS_BORDER_") {
		return
	}
	fmt.Fprintf(w, "  %-9s a caller in %s: it is answered there alone, and no consent changes that\n", "needed", d.From)
	if who := a.callerIn(d.From, d.To); who != "CALLER" && who != a.flags.Identity {
		fmt.Fprintf(w, "            (%s …)\n", a.again(d.From, d.To))
	}
}

// furtherNeeded is what some methods ask of a caller beside their permission.
var furtherNeeded = map[string]string{
	"AuditService/ExportLog":      "every tenant among those that the caller may see, and a caller inside the region's jurisdiction",
	"AuditService/ReadEntries":    "the tenant among those that the caller may see, or every tenant for a whole region's entries",
	"ConsentService/GrantConsent": "the tenant among those that the caller may see, and a caller in the jurisdiction that the consent leads from",
}

// printPermission writes what the gateway's table of callers must say of who may call a method.
func printPermission(w io.Writer, method string) {
	permission, tenant := permissionOf(method)
	if permission == "" {
		return
	}
	text := "the permission " + permission
	switch further := furtherNeeded[methodText(method)]; {
	case further != "":
		text += ", " + further
	case tenant:
		text += ", and the tenant among those that the caller may see"
	}
	fmt.Fprintf(w, "  %-9s %s\n            (in the gateway's table of callers)\n", "needed", text)
}

// permissionOf gives the permission that a method takes, as its proto says, and whether it is about a tenant.
func permissionOf(method string) (permission string, tenant bool) {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	s, ok := d.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		return "", false
	}
	m := s.Methods().ByName(protoreflect.Name(name))
	if m == nil {
		return "", false
	}
	access, _ := proto.GetExtension(m.Options(), annotationsv1.E_Access).(*annotationsv1.Access)
	return access.GetPermission(), m.Input().Fields().ByName("tenant_id") != nil
}

// again is the program with the flags that this run was given, so that a command
// that is proposed reaches the same gateway; the caller is one in the jurisdiction from.
func (a *app) again(from, to string) string {
	f := a.flags
	words := []string{a.name()}
	for _, flag := range []struct{ name, value, usual, variable string }{
		{"-i", a.callerIn(from, to), "", "DOMICILE_IDENTITY"},
		{"--data", f.Data, defaultData, "DOMICILE_DATA"},
		{"--address", f.Address, "", "DOMICILE_ADDRESS"},
		{"--ca", f.CA, "", "DOMICILE_CA"},
		{"--server-name", f.ServerName, "", "DOMICILE_SERVER_NAME"},
	} {
		if flag.value != flag.usual && flag.value != "" && flag.value != os.Getenv(flag.variable) {
			words = append(words, flag.name+" "+quoted(flag.value))
		}
	}
	return strings.Join(words, " ")
}

// callerIn names the identity to grant as. An embedded gateway's identities, and the files that follow their example, have
// where they are in their names; of the one that was refused abroad, the counterpart at home is meant. Where names say
// nothing it is for people to say who is at home.
func (a *app) callerIn(from, to string) string {
	name := a.flags.Identity
	extension := ""
	if isIdentityFile(name) {
		extension = filepath.Ext(name)
	}
	role, abroad := strings.CutSuffix(strings.TrimSuffix(name, extension), "-"+strings.ToLower(to))
	home := role + "-" + strings.ToLower(from) + extension
	switch {
	case name == "", from == to, strings.HasSuffix(strings.TrimSuffix(name, extension), "-"+strings.ToLower(from)):
		return name
	case abroad && a.hasIdentity(home):
		return home
	}
	return "CALLER"
}

// hasIdentity reports whether there is an identity of that name, or that file.
func (a *app) hasIdentity(name string) bool {
	if !isIdentityFile(name) {
		return slices.Contains(identities(filepath.Join(a.flags.Data, "identity")), name)
	}
	_, err := os.Stat(name)
	_, keyErr := os.Stat(identityBeside(name).Key)
	return err == nil && keyErr == nil
}

// quoted makes a word of a shell's of any text.
func quoted(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/:@%+=,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(printable(s), "'", `'\''`) + "'"
}

// printTLS writes which side refused the other, and what to check.
func (a *app) printTLS(w io.Writer, f *client.TLSFailure) {
	id, _ := a.identity(a.flags.Identity) // found before; its names are all that is wanted
	who := "This command refused the gateway's certificate"
	switch {
	case f.Problem == client.TLSProtocol:
		who = "What answers there speaks no TLS 1.3"
	case f.ByGateway:
		who = "The gateway refused your certificate, " + id.Certificate
	}
	fmt.Fprintf(w, "  %s: %s\n", who, tlsAdvice(f, id))
}

func tlsAdvice(f *client.TLSFailure, id client.Identity) string {
	switch {
	case f.Problem == client.TLSProtocol:
		return "check that --address, or what addresses.json names, is a gateway's gRPC address and not its admin address."
	case f.Problem == client.TLSUnknownAuthority && f.ByGateway:
		return "it does not accept the authority that made it. Check that --identity is one of this gateway's, and the gateway's tls.client_ca."
	case f.Problem == client.TLSUnknownAuthority:
		return "it does not descend from " + id.CA + ". Check --address, or name the gateway's authority with --ca."
	case f.Problem == client.TLSExpired && f.ByGateway:
		return "it has ended, or is not good yet. Renew it, or check both machines' clocks."
	case f.Problem == client.TLSExpired:
		return "it has ended, or is not good yet. Check this machine's clock and the gateway's tls.certificate."
	case f.Problem == client.TLSWrongName:
		return "it is for another name. Check --address, or say the name that it is for with --server-name."
	case f.ByGateway:
		return "check --identity: the certificate must be a client's, made by an authority of the gateway's tls.client_ca."
	}
	return "check --address and --ca."
}
