package admin

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// pageLimit is how many bytes the whole page may take on the wire.
const pageLimit = 150 << 10

var pageFiles = []string{"/", "/page.js", "/page.css"}

// ask gets a path as a browser does, without the client's own handling of encodings.
func ask(t *testing.T, url string, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	client := http.Client{Transport: &http.Transport{DisableCompression: true}}
	t.Cleanup(client.CloseIdleConnections)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func bodyOf(t *testing.T, resp *http.Response) []byte {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestPageIsSmall(t *testing.T) {
	base, total := serve(t, nil, nil), 0
	for _, path := range pageFiles {
		resp := ask(t, base+path, http.Header{"Accept-Encoding": {"gzip, deflate, br"}})
		if got := resp.Header.Get("Content-Encoding"); got != "gzip" {
			t.Errorf("%s: encoding %q", path, got)
		}
		zipped := bodyOf(t, resp)
		total += len(zipped)
		z, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			t.Fatal(err)
		}
		unzipped, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		if plain := bodyOf(t, ask(t, base+path, nil)); !bytes.Equal(plain, unzipped) {
			t.Errorf("%s is another compressed than not", path)
		}
	}
	t.Logf("the page takes %d bytes on the wire", total)
	if total > pageLimit {
		t.Errorf("the page takes %d bytes on the wire, more than %d", total, pageLimit)
	}
}

func TestPageIsKeptByItsTag(t *testing.T) {
	base := serve(t, nil, nil)
	for _, path := range pageFiles {
		for _, encoding := range []string{"", "gzip"} {
			resp := ask(t, base+path, http.Header{"Accept-Encoding": {encoding}})
			tag := resp.Header.Get("ETag")
			again := ask(t, base+path, http.Header{"Accept-Encoding": {encoding}, "If-None-Match": {tag}})
			if tag == "" || again.StatusCode != http.StatusNotModified {
				t.Errorf("%s (%s) with the tag %q: %s", path, encoding, tag, again.Status)
			}
			other := ask(t, base+path, http.Header{"Accept-Encoding": {encoding}, "If-None-Match": {`"other"`}})
			if other.StatusCode != http.StatusOK || other.Header.Get("Cache-Control") != "no-cache" {
				t.Errorf("%s (%s) with another tag: %s, %v", path, encoding, other.Status, other.Header)
			}
		}
	}
}

func TestPagePolicy(t *testing.T) {
	base := serve(t, nil, nil)
	for _, path := range pageFiles {
		resp := ask(t, base+path, nil)
		policy := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "connect-src 'self';", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: no %s in %q", path, want, policy)
			}
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s may be taken for another type: %v", path, resp.Header)
		}
	}
	// What the policy would keep from running must not be there either.
	page := string(bodyOf(t, ask(t, base+"/", nil)))
	for _, inline := range []string{`<script[^>]*>[^<]`, `<style`, ` style=`, ` on[a-z]+=`, `(src|href)="(https?:)?//`} {
		if found := regexp.MustCompile(inline).FindString(page); found != "" {
			t.Errorf("the page holds %q", found)
		}
	}
}

func TestPageWithoutScripts(t *testing.T) {
	page := string(bodyOf(t, ask(t, serve(t, nil, nil)+"/", nil)))
	_, rest, _ := strings.Cut(page, "<noscript>")
	shown, _, closed := strings.Cut(rest, "</noscript>")
	if !closed {
		t.Fatalf("nothing is shown without scripts:\n%s", page)
	}
	for _, want := range []string{
		"Domicile gateway zrh-1", "<code>v1</code>", "<code>127.0.0.1:8443</code>", "CH, US (one process serves several jurisdictions)",
		`href="/metrics"`, `href="/readyz"`, `href="/healthz"`, `href="/status"`,
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %s without scripts:\n%s", want, shown)
		}
	}
}

func TestPageEscapesItsFacts(t *testing.T) {
	page := string(index(Options{Name: `</noscript><script src="/x">`}))
	if strings.Contains(page, `<script src="/x">`) || !strings.Contains(page, "&lt;/noscript&gt;") {
		t.Errorf("a name was taken for markup:\n%s", page)
	}
}

func TestTakesGzip(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "identity": false, "gzip": true, "br, gzip": true, "GZIP;q=0.5": true, "gzip; q=0": false, "gzip;q=0.000": false, "xgzip": false,
	} {
		if got := takesGzip(accept); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}
