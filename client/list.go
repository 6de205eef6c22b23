package client

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// pages yields the items of every page in turn. fetch gives the page of a token
// and the token of the next. An error is yielded once, with the zero item, and ends it.
func pages[T any](token string, fetch func(token string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for token := token; ; {
			items, next, err := fetch(token)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			token = next
		}
	}
}

// copyOf keeps an iterator's pages from changing the caller's request.
func copyOf[M proto.Message](m M) M { return proto.Clone(m).(M) }

// AllTenants lists the tenants of a region, page after page. Each page is a
// call of its own; page_size says how long a page is.
func (c *Client) AllTenants(ctx context.Context, req *residencyv1.ListTenantsRequest) iter.Seq2[*residencyv1.Tenant, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.Tenant, string, error) {
		req.PageToken = token
		r, err := c.Tenants.ListTenants(ctx, req)
		return r.GetTenants(), r.GetNextPageToken(), err
	})
}

// AllRecords lists a subject's records, page after page, each a decided access.
func (c *Client) AllRecords(ctx context.Context, req *residencyv1.ListRecordsRequest) iter.Seq2[*residencyv1.PersonalRecord, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.PersonalRecord, string, error) {
		req.PageToken = token
		r, err := c.Records.ListRecords(ctx, req)
		return r.GetRecords(), r.GetNextPageToken(), err
	})
}

// AllSubjects lists a tenant's subjects, page after page, each a decided access.
func (c *Client) AllSubjects(ctx context.Context, req *residencyv1.ListSubjectsRequest) iter.Seq2[*residencyv1.Subject, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.Subject, string, error) {
		req.PageToken = token
		r, err := c.Records.ListSubjects(ctx, req)
		return r.GetSubjects(), r.GetNextPageToken(), err
	})
}

// AllFound lists the records that an e-mail address or phone number finds, page
// after page, each a decided access.
func (c *Client) AllFound(ctx context.Context, req *residencyv1.FindRecordsRequest) iter.Seq2[*residencyv1.PersonalRecord, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.PersonalRecord, string, error) {
		req.PageToken = token
		r, err := c.Records.FindRecords(ctx, req)
		return r.GetRecords(), r.GetNextPageToken(), err
	})
}

// AllDrives lists a tenant's drives, page after page.
func (c *Client) AllDrives(ctx context.Context, req *residencyv1.ListDrivesRequest) iter.Seq2[*residencyv1.Drive, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.Drive, string, error) {
		req.PageToken = token
		r, err := c.Drives.ListDrives(ctx, req)
		return r.GetDrives(), r.GetNextPageToken(), err
	})
}

// AllConsents lists a tenant's consents, newest first, page after page.
func (c *Client) AllConsents(ctx context.Context, req *residencyv1.ListConsentsRequest) iter.Seq2[*residencyv1.Consent, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.Consent, string, error) {
		req.PageToken = token
		r, err := c.Consents.ListConsents(ctx, req)
		return r.GetConsents(), r.GetNextPageToken(), err
	})
}

// AllDecisions lists the decisions about a tenant, newest first, page after page.
func (c *Client) AllDecisions(ctx context.Context, req *residencyv1.ListDecisionsRequest) iter.Seq2[*residencyv1.DecisionRecord, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.DecisionRecord, string, error) {
		req.PageToken = token
		r, err := c.Audit.ListDecisions(ctx, req)
		return r.GetRecords(), r.GetNextPageToken(), err
	})
}

// AllSnapshots lists a drive's snapshots, newest first, page after page.
func (c *Client) AllSnapshots(ctx context.Context, req *residencyv1.ListSnapshotsRequest) iter.Seq2[*residencyv1.Snapshot, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.Snapshot, string, error) {
		req.PageToken = token
		r, err := c.Drives.ListSnapshots(ctx, req)
		return r.GetSnapshots(), r.GetNextPageToken(), err
	})
}

// AllRecipients lists a tenant's recipients, page after page.
func (c *Client) AllRecipients(ctx context.Context, req *residencyv1.ListRecipientsRequest) iter.Seq2[*residencyv1.Recipient, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.Recipient, string, error) {
		req.PageToken = token
		r, err := c.Disclosures.ListRecipients(ctx, req)
		return r.GetRecipients(), r.GetNextPageToken(), err
	})
}

// AllLegalOrders lists a tenant's legal orders, newest first, page after page.
func (c *Client) AllLegalOrders(ctx context.Context, req *residencyv1.ListLegalOrdersRequest) iter.Seq2[*residencyv1.LegalOrder, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.LegalOrder, string, error) {
		req.PageToken = token
		r, err := c.Disclosures.ListLegalOrders(ctx, req)
		return r.GetOrders(), r.GetNextPageToken(), err
	})
}

// AllAbuseCases lists a tenant's abuse cases, newest first, page after page.
func (c *Client) AllAbuseCases(ctx context.Context, req *residencyv1.ListAbuseCasesRequest) iter.Seq2[*residencyv1.AbuseCase, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.AbuseCase, string, error) {
		req.PageToken = token
		r, err := c.Disclosures.ListAbuseCases(ctx, req)
		return r.GetAbuseCases(), r.GetNextPageToken(), err
	})
}

// AllDisclosures lists what was disclosed, newest first, page after page.
func (c *Client) AllDisclosures(ctx context.Context, req *residencyv1.ListDisclosuresRequest) iter.Seq2[*residencyv1.Disclosure, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) ([]*residencyv1.Disclosure, string, error) {
		req.PageToken = token
		r, err := c.Disclosures.ListDisclosures(ctx, req)
		return r.GetDisclosures(), r.GetNextPageToken(), err
	})
}
