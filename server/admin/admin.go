// Package admin knows what an operator sees over plain HTTP on this machine:
// metrics, whether the process lives and whether it can serve, and a page that
// shows how it fares. Nothing here names a tenant or a person, and nothing changes anything.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readyTimeout is how long a readiness check may take.
const readyTimeout = 2 * time.Second

// Options are what a Server is made of.
type Options struct {
	// Ready gives nil when calls can be served. Its error is logged; shown is what
	// a *Problem in it says.
	Ready func(context.Context) error

	// Healthy gives nil while the process can go on; after an error only a new
	// start helps. It is shown as Ready's is. nil = always.
	Healthy func() error

	// Metrics is what /metrics shows.
	Metrics *prometheus.Registry

	// What the page says about this process.
	Name, Version, GRPC string
	Jurisdictions       []string // where plaintext can exist

	Log *slog.Logger // nil = none
}

// Problem is why something is not as it should be, with what may be shown of it:
// which part of the gateway, in words from closed sets.
type Problem struct {
	Shown []string // a line each
	Err   error
}

// Error gives the cause.
func (p *Problem) Error() string { return p.Err.Error() }

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.Err }

// Server answers on the admin listener. Make it with New.
type Server struct {
	http *http.Server
	log  *slog.Logger
}

// NewRegistry makes a registry with what is known of the process, the Go runtime and
// the build.
func NewRegistry(version string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "domicile_build_info",
		Help:        "Always 1; the labels are the version that runs.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision(), "goversion": runtime.Version()},
	})
	info.Set(1)
	reg.MustRegister(info)
	return reg
}

// revision is the commit that the binary was built from, if it was stamped.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

// New builds the server.
func New(o Options) *Server {
	s := &Server{log: o.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{
		Registry: o.Metrics, MaxRequestsInFlight: 4, Timeout: 10 * time.Second, EnableOpenMetrics: true,
	}))
	mux.HandleFunc("GET /healthz", s.healthy(o.Healthy))
	mux.HandleFunc("GET /readyz", s.ready(o.Ready))
	servePage(mux, o)
	s.http = &http.Server{
		Handler:           secured(mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers until Close; it then returns nil. The listener must be of this
// machine only: nothing here asks who calls.
func (s *Server) Serve(lis net.Listener) error {
	if a, ok := lis.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		return fmt.Errorf("admin: %v is no loopback address", lis.Addr())
	}
	if err := s.http.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// Close stops answering. Requests that run are given until the context ends.
func (s *Server) Close(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

func (s *Server) ready(check func(context.Context) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		s.answer(w, check(ctx), "ready")
	}
}

func (s *Server) healthy(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var err error
		if check != nil {
			err = check()
		}
		s.answer(w, err, "ok")
	}
}

// answer says the good word, or "not" it with what may be shown of the reason.
func (s *Server) answer(w http.ResponseWriter, err error, good string) {
	if err == nil {
		plain(w, http.StatusOK, good)
		return
	}
	s.log.Debug("not "+good, slog.Any("err", err))
	lines := []string{"not " + good}
	var p *Problem
	if errors.As(err, &p) {
		lines = append(lines, p.Shown...)
	}
	plain(w, http.StatusServiceUnavailable, strings.Join(lines, "\n"))
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text) // the caller went away: nothing to do about it
}

// secured sets the headers that tell a browser to do as little as possible with
// what it gets, and refuses requests that name another host: a page elsewhere
// must not read this listener through a name that it points here.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !localHost(r.Host) {
			plain(w, http.StatusMisdirectedRequest, "this listener answers to localhost and loopback addresses only")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func localHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
