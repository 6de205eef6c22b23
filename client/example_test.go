package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// Reading a record, and telling a refusal by the privacy policy from a failure.
func Example() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{
		Address:  "127.0.0.1:8443",
		Identity: client.EmbeddedIdentity("./data", "app-us"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	var decision string
	r, err := c.Records.GetRecord(ctx, &residencyv1.GetRecordRequest{
		TenantId: "acme", SubjectId: "person-1", RecordId: "contact",
		Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS,
	}, client.DecisionID(&decision))

	var denied *client.Denied
	var failure *client.Error
	switch {
	case err == nil:
		fmt.Println("read under decision", decision, "version", r.GetRecord().GetVersion())
	case errors.As(err, &denied) && denied.Consent != nil:
		fmt.Println("needs a consent for", denied.Consent.Purpose, "from", denied.From, "to", denied.To)
	case errors.As(err, &failure) && failure.Retryable():
		fmt.Println("try again later:", failure.Reason)
	default:
		log.Print(err)
	}
}

// Writing a file to a drive: all of it, or nothing.
func ExampleClient_WriteDriveFrom() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{Address: "127.0.0.1:8443", Identity: client.EmbeddedIdentity("./data", "app-ch")})
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()
	image, err := os.Open("disk.img")
	if err != nil {
		log.Print(err)
		return
	}
	defer image.Close()

	r, err := c.WriteDriveFrom(ctx, &residencyv1.WriteDriveHeader{
		TenantId: "acme", DriveId: "disk-1", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}, image, func(sent int64) { fmt.Println(sent, "bytes sent") })
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println("the drive's version is now", r.GetVersion())
}

// Listing everything, page after page.
func ExampleClient_AllSubjects() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{Address: "127.0.0.1:8443", Identity: client.EmbeddedIdentity("./data", "app-ch")})
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()

	request := &residencyv1.ListSubjectsRequest{TenantId: "acme", Purpose: residencyv1.Purpose_PURPOSE_RECORDS}
	for subject, err := range c.AllSubjects(ctx, request) {
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Println(subject.GetSubjectId())
	}
}
