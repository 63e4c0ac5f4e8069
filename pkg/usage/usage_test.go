package usage

import (
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// tool is a program with a flag of each kind.
func tool() *cobra.Command {
	nothing := func(*cobra.Command, []string) error { return nil }
	root := &cobra.Command{Use: "tool", SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs, RunE: nothing}
	work := &cobra.Command{Use: "work NAME", Args: cobra.ExactArgs(1), RunE: nothing}
	f := work.Flags()
	f.Duration("wait", time.Second, "a `duration`")
	f.IntP("count", "n", 0, "a `number`")
	f.Uint64("after", 0, "an `ID`")
	f.Float64("rate", 0, "operations a `second`")
	f.Bool("force", false, "now")
	f.String("name", "", "a `name`")
	ask := &cobra.Command{Use: "ask", Args: cobra.NoArgs, RunE: nothing}
	ask.Flags().String("client", "", "an `address`")
	ask.MarkFlagRequired("client")
	root.AddCommand(work, ask)
	Explain(root)
	return root
}

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"work", "--wait", "5", "a"}, `work: --wait 5: duration "5" has no unit; want "5s" or "5ms", for example`},
		{[]string{"work", "--wait=soon", "a"}, `work: --wait soon: "soon" is not a duration; want one such as "250ms", "5s" or "1m30s"`},
		{[]string{"work", "--wait=9999999h", "a"}, `work: --wait 9999999h: "9999999h" is not a duration; want one such as "250ms", "5s" or "1m30s"`},
		{[]string{"work", "-n", "many", "a"}, `work: --count many: want a whole number`},
		{[]string{"work", "--count", "", "a"}, `work: --count "": want a whole number`},
		{[]string{"work", "--count", "99999999999999999999", "a"}, `work: --count 99999999999999999999: the number is out of range; want a smaller one`},
		{[]string{"work", "--after", "-1", "a"}, `work: --after -1: want a whole number, 0 or more`},
		{[]string{"work", "--rate", "a\x1b[2J", "a"}, `work: --rate "a\x1b[2J": want a number`},
		{[]string{"work", "--force=perhaps", "a"}, `work: --force perhaps: want true or false`},
		{[]string{"work", "--name"}, `work: --name wants a value; want --name NAME`},
		{[]string{"work", "-n"}, `work: --count wants a value; want --count NUMBER`},
		{[]string{"work", "--cuont", "3"}, `work: unknown flag --cuont; did you mean "--count"?`},
		{[]string{"work", "-wait", "5s"}, `work: unknown flag -wait; did you mean --wait?`},
		{[]string{"work", "-x"}, `work: unknown flag -x; see tool work --help`},
		{[]string{"work", "--=3"}, `work: "--=3" is no flag; want one such as --help`},
		{[]string{"work"}, `work: got nothing; want tool work NAME`},
		{[]string{"wrok"}, `unknown command "wrok" for "tool"; did you mean "work"?`},
		{[]string{"ask"}, `ask: want --client ADDRESS`},
		{[]string{"ask", "--client", "a"}, ""},
		{[]string{"--verbose"}, `unknown flag --verbose; want one of --help`},
		{[]string{"work", "a"}, ""},
	} {
		root := tool()
		root.SetArgs(tt.args)
		got := ""
		if err := root.Execute(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q: got %q; want %q", tt.args, got, tt.want)
		}
	}
}
