package main

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newManualCommand prints the section COMMANDS of gxswitch(8), so that the page
// says of commands and flags what --help does. `make man` puts it in its place.
func newManualCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "manual",
		Short:   "Print the commands as a section of the manual page",
		Hidden:  true,
		Example: "  gxswitch manual | man -l -",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var b strings.Builder
			b.WriteString(".SH COMMANDS\nThese go with each command:\n")
			manualFlags(&b, cmd.Root().PersistentFlags())
			manualOf(&b, cmd.Root())
			_, err := a.out.WriteString(b.String())
			return err
		},
	}
}

// manualOf writes of every command below cmd that does something itself. The
// macros are those of groff_man(7).
func manualOf(b *strings.Builder, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.Hidden {
			continue
		}
		if sub.HasSubCommands() {
			manualOf(b, sub)
			continue
		}
		sub.InitDefaultHelpFlag()
		fmt.Fprintf(b, ".SS %s\n", roffCode(strings.TrimSuffix(sub.UseLine(), " [flags]")))
		text := sub.Long
		if text == "" {
			text = sub.Short + "."
		}
		manualText(b, text)
		manualFlags(b, sub.NonInheritedFlags())
		manualExample(b, sub.Example)
	}
}

// manualText writes paragraphs; what is indented keeps its lines.
func manualText(b *strings.Builder, text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		asIs := false
		for _, line := range strings.Split(paragraph, "\n") {
			if indented := strings.HasPrefix(line, " "); indented != asIs {
				asIs = indented
				b.WriteString(map[bool]string{true: ".PP\n.EX\n", false: ".EE\n.PP\n"}[asIs])
			}
			if asIs {
				b.WriteString(roffLine(roffCode(line)))
			} else {
				b.WriteString(roffLine(roffText(line)))
			}
		}
		if asIs {
			b.WriteString(".EE\n")
		}
	}
}

func manualFlags(b *strings.Builder, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		b.WriteString(".TP\n")
		if f.Shorthand != "" {
			fmt.Fprintf(b, `\fB\-%s\fR, `, f.Shorthand)
		}
		fmt.Fprintf(b, `\fB%s\fR`, roffCode("--"+f.Name))
		if kind != "" {
			fmt.Fprintf(b, ` \fI%s\fR`, kind)
		}
		b.WriteString("\n" + roffLine(roffText(usage)))
	})
}

func manualExample(b *strings.Builder, example string) {
	b.WriteString(".PP\n.EX\n")
	for _, line := range strings.Split(strings.Trim(example, "\n"), "\n") {
		b.WriteString(roffLine(roffCode(line)))
	}
	b.WriteString(".EE\n")
}

// roff writes what a page of pure ASCII says otherwise.
func roff(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r > unicode.MaxASCII {
			fmt.Fprintf(&b, `\[u%04X]`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// roffText is prose: hyphens stay hyphens, those of options are minus signs.
func roffText(s string) string {
	return roff(strings.NewReplacer(`\`, `\e`, " --", ` \-\-`, " -", ` \-`).Replace(s))
}

// roffCode is what may be typed.
func roffCode(s string) string {
	return roff(strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s))
}

// roffLine ends a line that must not be taken for a request.
func roffLine(s string) string {
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s + "\n"
}
