package config

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

// S3 is a bucket of an S3 server, or a part of one.
type S3 struct {
	Endpoint    string // host or host:port
	Bucket      string
	Prefix      string // "" = the whole bucket
	Region      string // what requests are signed for; "" = us-east-1
	Credentials string // a file of credentials; "" = the environment's
	CA          string // a PEM file of the authorities of the server's certificate; "" = the system's
	Insecure    bool   // plain HTTP, to this machine alone
}

var (
	bucketName   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	bucketPrefix = regexp.MustCompile(`^[a-z0-9-]+(/[a-z0-9-]+)*$`)
)

// IsS3 reports whether a location is meant as a bucket.
func IsS3(location string) bool { return strings.HasPrefix(location, "s3:") }

// ParseS3 reads a location of the form that Cluster.Blobs describes. Its
// errors quote nothing of it: there may be a credential where none should be.
func ParseS3(location string) (S3, error) {
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.Fragment != "" || u.Opaque != "" {
		return S3{}, errors.New("want s3://HOST/BUCKET or s3://HOST:PORT/BUCKET/PREFIX")
	}
	if u.User != nil {
		return S3{}, errors.New("must hold no credentials: name a file with ?credentials=FILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	out := S3{Endpoint: u.Host}
	out.Bucket, out.Prefix, _ = strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !bucketName.MatchString(out.Bucket) {
		return S3{}, errors.New("want a bucket of 3 to 63 bytes of [a-z0-9.-] after the host")
	}
	if len(out.Prefix) > 200 || out.Prefix != "" && !bucketPrefix.MatchString(out.Prefix) {
		return S3{}, errors.New("want a prefix of segments of [a-z0-9-] after the bucket, or nothing")
	}
	if err := out.parseQuery(u.RawQuery); err != nil {
		return S3{}, err
	}
	return out, nil
}

func (s *S3) parseQuery(raw string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return errors.New("want a query of region, credentials, ca and tls")
	}
	for key, values := range query {
		if len(values) != 1 || values[0] == "" {
			return errors.New("want one value for each of region, credentials, ca and tls")
		}
		value := values[0]
		switch key {
		case "region":
			s.Region = value
		case "credentials":
			s.Credentials = value
		case "ca":
			s.CA = value
		case "tls":
			if s.Insecure = value == "off"; !s.Insecure {
				return errors.New("want tls=off, on a loopback address, or nothing: TLS is the default")
			}
		default:
			return errors.New("want no other query than region, credentials, ca and tls")
		}
	}
	return s.check()
}

func (s *S3) check() error {
	for _, f := range []string{s.Credentials, s.CA} {
		if f != "" && !filepath.IsAbs(f) {
			return errors.New("want absolute paths for credentials and ca")
		}
	}
	address := s.Endpoint
	if _, _, err := net.SplitHostPort(address); err != nil {
		address += ":80"
	}
	if s.Insecure && !Loopback(address) {
		return errors.New("tls=off is for loopback addresses alone: elsewhere objects travel encrypted")
	}
	return nil
}

// blobs checks where a cluster's objects are.
func (v *validation) blobs(p path, location string) {
	if !IsS3(location) {
		v.location(p, location, "file")
		return
	}
	if _, err := ParseS3(location); err != nil {
		v.bad(p, "%v", err)
	}
}

// buckets refuses clusters that share a bucket, or a part of one.
func (v *validation) buckets(c *Config) {
	type used struct {
		at     path
		folder string
	}
	var all []used
	for _, name := range sortedNames(c.Regions) {
		for i, cl := range c.Regions[name].Clusters {
			b, err := ParseS3(cl.Blobs)
			if err != nil {
				continue
			}
			next := used{path{"regions", name}.with("clusters", i, "blobs"), filepath.Clean("/" + b.Endpoint + "/" + b.Bucket + "/" + b.Prefix)}
			for _, other := range all {
				if within(next.folder, other.folder) || within(other.folder, next.folder) {
					v.bad(next.at, "must lie apart from %v", other.at)
				}
			}
			all = append(all, next)
		}
	}
}
