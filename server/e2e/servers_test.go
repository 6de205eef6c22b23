package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/domicile-project/domicile/residency/store/storetest"
)

// layout is where a gateway's data lies, for tests that look at it from outside.
type layout struct {
	all    []string          // the folders of everything that it has on disk
	keys   string            // the folder with one for each region's keys
	drives map[string]string // by region, the folder of drives' chunks
	chunk  string            // what the names of chunks' files begin with
	log    string            // what the paths of the audit log's tiles have, which lie there too
	blobs  string            // what the paths of both have, and of no other files
	bucket string            // what the names of objects in the regions' buckets begin with; "" = there are none
}

func embeddedLayout(data string) layout {
	l := layout{all: []string{data}, keys: filepath.Join(data, "keys"), drives: make(map[string]string), chunk: "o-", log: "/d-log/", blobs: "/blobs/"}
	for _, region := range regions {
		l.drives[region] = filepath.Join(data, region, "blobs")
	}
	return l
}

var regions = []string{"ch", "us"}

// servers are a PostgreSQL cluster and an S3 server for each region, in processes and
// folders of their own. They serve every test that needs them.
type servers struct {
	once     sync.Once
	err      error
	postgres map[string]*storetest.PostgresServer
	s3       map[string]*storetest.S3Server
}

var running servers

// start starts the servers at their first use.
func (s *servers) start() error {
	s.once.Do(func() {
		s.postgres, s.s3 = make(map[string]*storetest.PostgresServer), make(map[string]*storetest.S3Server)
		for _, region := range regions {
			s.err = errors.Join(s.err, s.startIn(region))
		}
	})
	return s.err
}

// startIn starts a region's servers. Keys have a database apart from what they seal.
func (s *servers) startIn(region string) error {
	objects, err := storetest.NewS3(region)
	if err != nil {
		return err
	}
	s.s3[region] = objects
	tables, err := storetest.NewPostgres("max_connections=400")
	if err != nil {
		return err
	}
	s.postgres[region] = tables
	return tables.Exec("postgres", "postgres", "create database keys owner domicile")
}

func (s *servers) stop() {
	for _, server := range s.s3 {
		server.Close()
	}
	for _, server := range s.postgres {
		server.Close()
	}
}

// onServers gives the shared daemon that keeps its data on servers.
func onServers(t testing.TB) *daemon {
	t.Helper()
	return sharedOnServers.get(t, func(dir string) (*daemon, error) {
		d, err := prepareOnServers(t, dir)
		if err == nil {
			err = d.launch()
		}
		return d, err
	})
}

var sharedOnServers sharedDaemon

// startOnServers starts a daemon of the test's own on tables and objects that are nobody
// else's, and stops it with the test.
func startOnServers(t testing.TB, settings ...string) *daemon {
	t.Helper()
	d, err := prepareOnServers(t, t.TempDir(), settings...)
	if err == nil {
		err = d.launch()
	}
	skipWithoutTool(t, err)
	if err != nil {
		t.Fatal(err)
	}
	d.stopWith(t)
	return d
}

// skipWithoutTool skips a test that needs a program which is not installed and need not be.
func skipWithoutTool(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, storetest.ErrNoTool) {
		t.Skip(err)
	}
}

// prepareOnServers writes the configuration of a gateway that keeps keys' roots in a folder
// and all else on the servers, under names of its own, and makes its tables. Settings
// are lines of the configuration to put in place of those that begin alike.
func prepareOnServers(t testing.TB, dir string, settings ...string) (*daemon, error) {
	if err := running.start(); err != nil {
		return nil, err
	}
	name := "w" + randomID()
	text := printed(t, dir)
	l := layout{all: []string{dir}, keys: filepath.Join(dir, "keys"), drives: make(map[string]string), log: "/objects/log.", blobs: "/objects/", bucket: name + "/objects/"}
	for _, region := range regions {
		tables, objects := running.postgres[region], running.s3[region]
		secrets := filepath.Join(dir, "credentials-"+region)
		secret := "[default]\naws_access_key_id = " + objects.AccessKey + "\naws_secret_access_key = " + objects.SecretKey + "\n"
		if err := os.WriteFile(secrets, []byte(secret), 0o600); err != nil {
			return nil, err
		}
		keys := "keys: file:" + filepath.Join(l.keys, region)
		text = replaced(t, text, keys, keys+"\n    key_store: "+database(tables, "keys", name))
		text = replaced(t, text, "pebble:"+filepath.Join(dir, region, "rows"), database(tables, "domicile", name))
		text = replaced(t, text, "file:"+filepath.Join(dir, region, "blobs"), fmt.Sprintf(
			"s3://%s/%s/%s?tls=off&region=%s&credentials=%s", objects.Endpoint, objects.Bucket, name, region, secrets))
		l.all = append(l.all, tables.Folder(), objects.Folder())
		l.drives[region] = filepath.Join(objects.Folder(), name, "objects")
	}
	text = replaced(t, text, "pebble:"+filepath.Join(dir, "directory"), database(running.postgres["ch"], "domicile", name+"_directory"))
	for _, line := range settings {
		text = set(t, text, line)
	}
	return migrated(t, dir, text, l)
}

// database is the location of a schema, on a server that has no standby.
func database(server *storetest.PostgresServer, name, schema string) string {
	return server.URL("domicile", name) + "&require_sync_standby=false&schema=" + schema
}

// migrated makes the tables of a configuration, and the directory's key, which a gateway
// does not make for a directory that others may use.
func migrated(t testing.TB, dir, text string, l layout) (*daemon, error) {
	file := filepath.Join(dir, "gateway.yaml")
	err := errors.Join(
		os.MkdirAll(l.keys, 0o700),
		os.WriteFile(filepath.Join(l.keys, "directory.key"), []byte(strings.Repeat(randomID(), 4)), 0o600),
		os.WriteFile(file, []byte(text), 0o600))
	if err != nil {
		return nil, err
	}
	if out, err := domiciled("migrate", "--config", file); err != nil {
		return nil, fmt.Errorf("migrate: %w\n%s", err, out)
	}
	return &daemon{data: gateway(t).data, args: []string{"--config", file}, config: text, layout: l}, nil
}

// set puts a setting in place of the one of that name.
func set(t testing.TB, text, line string) string {
	t.Helper()
	name, _, _ := strings.Cut(line, ":")
	at := strings.Index(text, "\n"+name+":")
	if at < 0 {
		t.Fatalf("no setting %q in\n%s", name, text)
	}
	end := at + 1 + strings.IndexByte(text[at+1:], '\n')
	return text[:at+1] + line + text[end:]
}

// objects lists the chunks of a region's drives, as a bucket's server tells or a folder has them.
func (d *daemon) objects(t testing.TB, region string) (names []string) {
	t.Helper()
	if d.layout.bucket == "" {
		return slices.Collect(maps.Keys(d.chunks(t, region)))
	}
	server := running.s3[region]
	c, err := minio.New(server.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(server.AccessKey, server.SecretKey, ""), Region: server.Region,
	})
	if err != nil {
		t.Fatal(err)
	}
	for o := range c.ListObjects(t.Context(), server.Bucket, minio.ListObjectsOptions{Prefix: d.layout.bucket, Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if !strings.Contains(o.Key, d.layout.log) {
			names = append(names, o.Key)
		}
	}
	return names
}

// another gives a gateway of the same kind that shares nothing with this one.
func (d *daemon) another(t testing.TB) *daemon {
	t.Helper()
	if d.config == "" {
		return start(t, filepath.Join(t.TempDir(), "data"))
	}
	return startOnServers(t)
}

// The tour, which fails when anything does not come out as told, on servers.
func TestTourOnServers(t *testing.T) {
	d := onServers(t)
	page := d.must(t, "", "tour")
	for _, told := range []string{"CROSS_BORDER_CONSENT_REQUIRED", "CONSENT_WITHDRAWN", "alpine-", "prairie-"} {
		if !strings.Contains(page, told) {
			t.Errorf("the tour does not tell of %s:\n%s", told, page)
		}
	}
	for _, region := range regions {
		if len(filesBelow(t, d.layout.drives[region])) == 0 {
			t.Errorf("region %s: the bucket has no chunk of a drive", region)
		}
	}
}
