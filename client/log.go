package client

import (
	"context"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// ExportLog gives the files of a storage cluster's audit log to take, one by one, as the gateway has them at
// its newest checkpoint, which comes last: a log without it broke off. Paths are those of C2SP tlog-tiles; look at them before
// a file is made of them. data is take's to keep.
func (c *Client) ExportLog(ctx context.Context, req *residencyv1.ExportLogRequest, take func(path string, data []byte) error, opts ...grpc.CallOption) error {
	stream, err := c.Audit.ExportLog(ctx, req, opts...)
	if err != nil {
		return err
	}
	_, err = each(stream, func(m *residencyv1.ExportLogResponse) error { return take(m.GetPath(), m.GetData()) })
	return err
}

// AllEntries lists entries of the audit log, newest first, page after page, each a decided access. A page that the gateway
// was not available for is asked for again: nothing of it has been given out yet.
func (c *Client) AllEntries(ctx context.Context, req *residencyv1.ReadEntriesRequest, opts ...grpc.CallOption) iter.Seq2[*residencyv1.AuditEntry, error] {
	req = copyOf(req)
	return pages(req.GetPageToken(), func(token string) (list []*residencyv1.AuditEntry, next string, err error) {
		req.PageToken = token
		err = c.retries.do(ctx, true, func() (metadata.MD, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			list, next = nil, ""
			stream, err := c.Audit.ReadEntries(ctx, req, opts...)
			if err != nil {
				return nil, err
			}
			return each(stream, func(m *residencyv1.ReadEntriesResponse) error {
				list, next = append(list, m.GetEntries()...), m.GetNextPageToken()
				return nil
			})
		})
		return list, next, err
	})
}
