package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gxswitch/internal/control"
)

// completer offers words for an argument or a flag.
type completer = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// live asks the daemon for words. Who presses Tab waits: a daemon that does
// not answer at once offers nothing.
func (a *app) live(ask func(context.Context, *control.Client) []string) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		client := a.client()
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		words := slices.DeleteFunc(ask(ctx, client), func(w string) bool { return slices.Contains(args, w) })
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) networkNames() completer {
	return a.live(func(ctx context.Context, c *control.Client) []string {
		networks, _ := c.Networks(ctx)
		var all []string
		for _, n := range networks {
			all = append(all, printable(n.Name))
		}
		return all
	})
}

func (a *app) portNames() completer {
	return a.live(func(ctx context.Context, c *control.Client) []string {
		ports, _ := c.Ports(ctx)
		var all []string
		for _, p := range ports {
			if name := printable(p.Name); !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
		return all
	})
}

// once is c for the first argument and nothing for others.
func once(c completer) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, typed)
	}
}

// complete offers the words for a flag; without words, nothing.
func complete(cmd *cobra.Command, flag string, words ...string) {
	completeBy(cmd, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func completeBy(cmd *cobra.Command, flag string, c completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, c); err != nil {
		panic(err) // no such flag: a mistake in this program
	}
}

func newCompletionCommand(a *app) *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print what makes a shell complete gxswitch's commands",
		Long: `Prints the completions for bash, zsh or fish. Names of networks and ports
come from the daemon, if one answers.`,
		Example: `  gxswitch completion bash > /etc/bash_completion.d/gxswitch
  gxswitch completion fish > ~/.config/fish/completions/gxswitch.fish
  source <(gxswitch completion zsh)`,
		Args:              exactly("SHELL"),
		ValidArgsFunction: once(cobra.FixedCompletions(shells, cobra.ShellCompDirectiveNoFileComp)),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			default:
				return usagef(cmd, "no completion for %q: want bash, zsh or fish", args[0])
			}
		},
	}
}
