package admin

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

// What page/ is built into; `make page` builds it.
//
//go:embed page/dist/index.html page/dist/page.js page/dist/page.css
var built embed.FS

// pagePolicy lets the page load what this listener serves, and ask it; nothing inline runs.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// factsPlace is where the built page has the facts that are shown without JavaScript.
const factsPlace = "<!--facts-->"

var facts = template.Must(template.New("facts").Parse(`<main>
<h1>Domicile gateway {{.Name}}</h1>
<p>This gateway keeps personal information and drive data in the region where its tenant is at home.
What it does now is shown here with JavaScript, and by <code>domicile status</code>.</p>
<dl>
<div><dt>Version</dt><dd><code>{{.Version}}</code></dd></div>
<div><dt>gRPC</dt><dd><code>{{.GRPC}}</code>, mutual TLS</dd></div>
<div><dt>Plaintext can exist in</dt><dd>{{range $i, $j := .Jurisdictions}}{{if $i}}, {{end}}{{$j}}{{end}}{{if .Mixed}} (one process serves several jurisdictions){{end}}</dd></div>
</dl>
<ul>
<li><a href="/status">Status</a>: regions, borders, the audit log and calls, as JSON</li>
<li><a href="/metrics">Metrics</a> for Prometheus</li>
<li><a href="/readyz">Ready</a>: whether every region's rows, blobs, keys and policy answer; if not, which does not</li>
<li><a href="/healthz">Healthy</a>: whether the process can go on, or needs a new start</li>
</ul>
</main>`))

// asset is one file of the page, as it is and compressed.
type asset struct {
	contentType   string
	plain, zipped []byte
	tag           string // of the plain content
}

// servePage adds the status page to what is served.
func servePage(mux *http.ServeMux, o Options) {
	mux.Handle("GET /{$}", newAsset("text/html; charset=utf-8", index(o)))
	mux.Handle("GET /page.js", newAsset("text/javascript; charset=utf-8", builtFile("page.js")))
	mux.Handle("GET /page.css", newAsset("text/css; charset=utf-8", builtFile("page.css")))
}

func builtFile(name string) []byte {
	content, err := built.ReadFile("page/dist/" + name)
	if err != nil {
		panic(err) // embedded above
	}
	return content
}

// index is the page with what is known of this process before anything is asked.
func index(o Options) []byte {
	var b bytes.Buffer
	if err := facts.Execute(&b, struct {
		Options
		Mixed bool
	}{o, len(o.Jurisdictions) > 1}); err != nil {
		panic(fmt.Sprintf("admin: the page's facts: %v", err)) // the template and the fields are above
	}
	return bytes.Replace(builtFile("index.html"), []byte(factsPlace), b.Bytes(), 1)
}

func newAsset(contentType string, content []byte) *asset {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level exists, and a buffer takes all
	_, _ = z.Write(content)
	_ = z.Close()
	sum := sha256.Sum256(content)
	return &asset{contentType: contentType, plain: content, zipped: b.Bytes(), tag: hex.EncodeToString(sum[:12])}
}

// ServeHTTP gives the file, unless the browser has this very version of it.
func (a *asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cache-Control", "no-cache") // kept, and asked for each time: a new version shows at once
	h.Set("Vary", "Accept-Encoding")
	h.Set("Content-Type", a.contentType)
	content, tag := a.plain, a.tag
	if takesGzip(r.Header.Get("Accept-Encoding")) {
		content, tag = a.zipped, a.tag+"-gzip"
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// takesGzip says whether an Accept-Encoding names gzip, and not to refuse it.
func takesGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		name, weight, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		q, found := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		return !found || strings.Trim(q, "0.") != ""
	}
	return false
}
