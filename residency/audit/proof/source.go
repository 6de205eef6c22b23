package proof

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
)

// Source is where a log's files are read: "checkpoint" and the paths of C2SP tlog-tiles below "tile".
type Source interface {
	// ReadFile gives a whole file of at most most bytes; a larger one is an error. An error that
	// wraps fs.ErrNotExist says that there is no such file, every other one that this could not be found out.
	ReadFile(ctx context.Context, path string, most int) ([]byte, error)
}

// Dir is a log in a folder, or in any other file system.
func Dir(fsys fs.FS) Source { return dir{fsys} }

type dir struct{ fsys fs.FS }

func (d dir) ReadFile(ctx context.Context, path string, most int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	return readAtMost(f, path, most)
}

// HTTP is a log behind a URL, which may end in a slash. The client, and with it how long an answer may take, is the caller's.
func HTTP(client *http.Client, url string) Source {
	return remote{client, strings.TrimSuffix(url, "/")}
}

type remote struct {
	client *http.Client
	url    string
}

func (r remote) ReadFile(ctx context.Context, path string, most int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return readAtMost(answer.Body, path, most)
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("%s: the server answers %s", path, answer.Status)
}

func readAtMost(r io.Reader, path string, most int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(b) > most {
		return nil, fmt.Errorf("%s has more than %d bytes, which no log has there", path, most)
	}
	return b, nil
}
