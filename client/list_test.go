package client

import (
	"context"
	"strconv"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// listing serves n tenants, two a page, and fails at the page that starts at failAt.
func listing(t *testing.T, n, failAt int, calls *int) *fake {
	return &fake{list: func(_ context.Context, r *residencyv1.ListTenantsRequest) (*residencyv1.ListTenantsResponse, error) {
		*calls++
		if r.GetRegion() != "ch" {
			t.Errorf("page %d asks for region %q", *calls, r.GetRegion())
		}
		from, _ := strconv.Atoi(r.GetPageToken())
		if from == failAt {
			return nil, status.Error(codes.NotFound, "")
		}
		page := &residencyv1.ListTenantsResponse{}
		for i := from; i < min(from+2, n); i++ {
			page.Tenants = append(page.Tenants, &residencyv1.Tenant{TenantId: strconv.Itoa(i)})
		}
		if from+2 < n {
			page.NextPageToken = strconv.Itoa(from + 2)
		}
		return page, nil
	}}
}

func TestListsGoOnPageAfterPage(t *testing.T) {
	calls := 0
	c, stop := serve(t, listing(t, 5, -1, &calls))
	defer stop()
	req := &residencyv1.ListTenantsRequest{Region: "ch"}
	all := c.AllTenants(t.Context(), req)
	for round := range 2 { // an iterator can be run through again
		i := 0
		for tenant, err := range all {
			if err != nil || tenant.GetTenantId() != strconv.Itoa(i) {
				t.Fatalf("round %d, item %d: %v, %v", round, i, tenant, err)
			}
			i++
		}
		if i != 5 {
			t.Errorf("round %d: %d items, want 5", round, i)
		}
	}
	if calls != 6 || req.GetPageToken() != "" {
		t.Errorf("%d calls, want 6; the caller's page token is %q", calls, req.GetPageToken())
	}
}

func TestListsStopWhenToldAndOnErrors(t *testing.T) {
	calls := 0
	c, stop := serve(t, listing(t, 5, 2, &calls))
	defer stop()
	for range c.AllTenants(t.Context(), &residencyv1.ListTenantsRequest{Region: "ch"}) {
		break
	}
	if calls != 1 {
		t.Errorf("%d calls for one item", calls)
	}
	var items, errs int
	for tenant, err := range c.AllTenants(t.Context(), &residencyv1.ListTenantsRequest{Region: "ch"}) {
		switch {
		case err == nil:
			items++
		case tenant != nil || status.Code(err) != codes.NotFound:
			t.Errorf("%v, %v", tenant, err)
		default:
			errs++
		}
	}
	if items != 2 || errs != 1 {
		t.Errorf("%d items and %d errors, want 2 and 1", items, errs)
	}
}
