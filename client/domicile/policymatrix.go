package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
)

//go:embed policymatrix.html
var matrixPage string

type policyMatrix struct {
	Files  []string `arg:"" name:"file" help:"Policy files, or names of those that come with the program. No gateway is asked."`
	Format string   `enum:"terminal,markdown,html" default:"terminal" placeholder:"FORMAT" help:"terminal, markdown, or html: one page with everything in it."`
}

// matrixJSON is a matrix as programs read it.
type matrixJSON struct {
	Version      string    `json:"version"`
	Digest       string    `json:"digest"`
	Jurisdiction string    `json:"jurisdiction"`
	Columns      []string  `json:"columns"`
	Rows         []rowJSON `json:"rows"`
}

type rowJSON struct {
	Action  string   `json:"action"`
	Class   string   `json:"data_class"`
	Who     string   `json:"who"`
	Answers []string `json:"answers"`
}

// Run writes the borders of the policies as tables.
func (c *policyMatrix) Run(a *app) error {
	policies, err := parsePolicies(c.Files)
	if err != nil {
		return err
	}
	matrices := make([]policy.Matrix, len(policies))
	for i, p := range policies {
		matrices[i] = policy.NewMatrix(p)
	}
	switch {
	case a.flags.Output == "json":
		return a.value(matricesJSON(matrices))
	case c.Format == "html":
		return writeMatrixPage(a.stdout, matrices)
	case c.Format == "markdown":
		return writeMatrixMarkdown(a.stdout, matrices)
	}
	for i, m := range matrices {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		if err := m.WriteText(a.stdout); err != nil {
			return err
		}
	}
	return nil
}

func matricesJSON(matrices []policy.Matrix) []matrixJSON {
	out := make([]matrixJSON, len(matrices))
	for i, m := range matrices {
		out[i] = matrixJSON{Version: m.Policy.Version, Digest: m.Policy.Digest, Jurisdiction: m.Policy.Jurisdiction.String(), Columns: m.Columns}
		for _, r := range m.Rows {
			out[i].Rows = append(out[i].Rows, rowJSON{r.Action.String(), r.Class.String(), r.Who, r.Answers})
		}
	}
	return out
}

// writeMatrixMarkdown writes a table for each policy and one of its clauses, and one of what requirements are.
func writeMatrixMarkdown(w io.Writer, matrices []policy.Matrix) error {
	var b strings.Builder
	for i, m := range matrices {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "## %s\n\n`%s`\n\n", markdown(m.Heading()), m.Policy.Digest)
		columns := append([]string{"Action", "Data", "Who and what for"}, m.Columns...)
		markdownRow(&b, columns...)
		b.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
		for _, r := range m.Rows {
			markdownRow(&b, append([]string{r.Action.String(), r.Class.String(), r.Who}, r.Answers...)...)
		}
		b.WriteString("\n")
		markdownRow(&b, "Clause", "What it promises", "Whose words")
		b.WriteString("|---|---|---|\n")
		for _, c := range m.Policy.Clauses {
			markdownRow(&b, c.ID, c.Title, whoseWords(c))
		}
	}
	b.WriteString("\n")
	markdownRow(&b, "Requirement", "What meets it")
	b.WriteString("|---|---|\n")
	for _, r := range requirements() {
		markdownRow(&b, r.String(), policy.Remedy(r))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// requirements are all that a policy can ask for, in the order in which they are checked.
func requirements() []residency.Requirement {
	out := make([]residency.Requirement, residency.NumRequirements)
	for i := range out {
		out[i] = residency.Requirement(i)
	}
	return out
}

func whoseWords(c policy.Clause) string {
	if c.Said {
		return "the policy's"
	}
	return "the product's"
}

func markdownRow(b *strings.Builder, cells ...string) {
	for _, c := range cells {
		b.WriteString("| " + markdown(c) + " ")
	}
	b.WriteString("|\n")
}

// markdown keeps a text from being read as markup.
func markdown(text string) string {
	return strings.NewReplacer("\\", "\\\\", "|", "\\|", "_", "\\_", "*", "\\*", "`", "\\`", "<", "&lt;", "[", "\\[", "#", "\\#").Replace(text)
}

// writeMatrixPage writes one page that needs nothing else.
func writeMatrixPage(w io.Writer, matrices []policy.Matrix) error {
	page, err := template.New("matrix").Funcs(template.FuncMap{"answer": answerClass, "whose": whoseWords, "requirements": requirements, "remedy": policy.Remedy}).Parse(matrixPage)
	if err != nil {
		return err
	}
	return page.Execute(w, matrices)
}

// answerClass says how an answer is coloured; its words say the same.
func answerClass(answer string) string {
	switch {
	case answer == "yes":
		return "yes"
	case strings.HasPrefix(answer, "needs "):
		return "needs"
	}
	return "no"
}
