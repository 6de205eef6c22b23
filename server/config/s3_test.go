package config

import (
	"strings"
	"testing"
)

func TestParseS3(t *testing.T) {
	for location, want := range map[string]S3{
		"s3://s3.example.com/bucket": {Endpoint: "s3.example.com", Bucket: "bucket"},
		"s3://s3.example.com:9000/my.bucket/ch/zrh-1?region=eu-central-2&credentials=/etc/s3&ca=/etc/ca.pem": {
			Endpoint: "s3.example.com:9000", Bucket: "my.bucket", Prefix: "ch/zrh-1",
			Region: "eu-central-2", Credentials: "/etc/s3", CA: "/etc/ca.pem",
		},
		"s3://127.0.0.1:9000/bucket?tls=off": {Endpoint: "127.0.0.1:9000", Bucket: "bucket", Insecure: true},
		"s3://localhost/bucket?tls=off":      {Endpoint: "localhost", Bucket: "bucket", Insecure: true},
	} {
		if got, err := ParseS3(location); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", location, got, err, want)
		}
	}
	for location, want := range map[string]string{
		"s3:bucket":                                        "want s3://HOST/BUCKET",
		"s3:///bucket":                                     "want s3://HOST/BUCKET",
		"s3://host":                                        "want a bucket",
		"s3://host/Canary":                                 "want a bucket",
		"s3://host/bucket/canary/":                         "want a prefix",
		"s3://host/bucket/../canary":                       "want a prefix",
		"s3://canary:canary@host/bucket":                   "must hold no credentials",
		"s3://host/bucket?secret=canary":                   "want no other query",
		"s3://host/bucket?region=a&region=canary":          "want one value",
		"s3://host/bucket?region=":                         "want one value",
		"s3://host/bucket?credentials=canary":              "want absolute paths",
		"s3://host/bucket?ca=canary":                       "want absolute paths",
		"s3://host/bucket?tls=canary":                      "want tls=off",
		"s3://canary.example.com/bucket?tls=off":           "loopback addresses alone",
		"s3://host/bucket#canary":                          "want s3://HOST/BUCKET",
		"s3://host/bucket?credentials=/a&ca=/b&%canary=%%": "want a query",
	} {
		got, err := ParseS3(location)
		if err == nil || !strings.Contains(err.Error(), want) || got != (S3{}) {
			t.Errorf("%s: got %+v, %v; want an error that says %q", location, got, err, want)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error %q quotes it", location, err)
		}
	}
}

func TestBucketsLieApart(t *testing.T) {
	for _, tt := range []struct {
		one, other string
		apart      bool
	}{
		{"s3://host/bucket", "s3://host/bucket", false},
		{"s3://host/bucket", "s3://host/bucket/a?region=b", false},
		{"s3://host/bucket/a/b", "s3://host/bucket/a", false},
		{"s3://host/bucket/a", "s3://host/bucket/ab", true},
		{"s3://host/bucket", "s3://host/bucket2", true},
		{"s3://host/bucket", "s3://other/bucket", true},
		{"s3://host/bucket", "file:/bucket", true},
	} {
		v := &validation{}
		v.buckets(&Config{Regions: map[string]Region{
			"ch": {Clusters: []Cluster{{Blobs: tt.one}}}, "us": {Clusters: []Cluster{{Blobs: tt.other}}},
		}})
		if apart := len(v.problems) == 0; apart != tt.apart {
			t.Errorf("%s and %s: %v", tt.one, tt.other, v.problems)
		}
	}
}
