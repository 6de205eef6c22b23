// Command outsidewitness runs a witness that others wrote, litewitness of filippo.io/torchwood, for tests: it gives it a key
// in an SSH agent and a database that knows a log, which are what litewitness asks of whoever runs it.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/tlog"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: outsidewitness FOLDER NAME ADDRESS LOGKEY...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "outsidewitness:", err)
		os.Exit(1)
	}
}

// run serves until the context ends.
func run(ctx context.Context, folder, name, address string, logs []string) error {
	db := filepath.Join(folder, "witness.db")
	if err := know(db, logs); err != nil {
		return err
	}
	socket := filepath.Join(folder, "agent")
	fingerprint, err := keep(ctx, socket)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, filepath.Join(filepath.Dir(program), "litewitness"),
		"-db", db, "-name", name, "-ssh-agent", socket, "-key", fingerprint, "-listen", address)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}

// know makes a database with the logs that are to be witnessed.
func know(file string, logs []string) (err error) {
	db, err := sqlite.OpenConn(file, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	const tables = `CREATE TABLE IF NOT EXISTS log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL);
		CREATE TABLE IF NOT EXISTS key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));`
	if err := sqlitex.ExecuteScript(db, tables, nil); err != nil {
		return err
	}
	empty, err := tlog.TreeHash(0, nil)
	if err != nil {
		return err
	}
	for _, key := range logs {
		origin, _, _ := strings.Cut(key, "+")
		err := sqlitex.Execute(db, "INSERT OR IGNORE INTO log VALUES (?, 0, ?)", &sqlitex.ExecOptions{Args: []any{origin, base64.StdEncoding.EncodeToString(empty[:])}})
		if err == nil {
			err = sqlitex.Execute(db, "INSERT INTO key VALUES (?, ?)", &sqlitex.ExecOptions{Args: []any{origin, key}})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keep serves an SSH agent with a new key, and gives its fingerprint.
func keep(ctx context.Context, socket string) (fingerprint string, err error) {
	_, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: secret}); err != nil {
		return "", err
	}
	public, err := ssh.NewPublicKey(secret.Public())
	if err != nil {
		return "", err
	}
	lis, err := net.Listen("unix", socket)
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { lis.Close() })
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, conn); conn.Close() }()
		}
	}()
	return ssh.FingerprintSHA256(public), nil
}
