package usage

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/limeload/limeload/pkg/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError is what c says of an error of its flags.
func flagError(c *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	var lacking *pflag.ValueRequiredError
	var unknown *pflag.NotExistError
	var malformed *pflag.InvalidSyntaxError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case errors.As(err, &invalid):
		err = fmt.Errorf("--%s %s: %w", invalid.GetFlag().Name, quoted(invalid.GetValue()), wrongValue(invalid))
	case errors.As(err, &lacking):
		f := lacking.GetFlag()
		what, _ := pflag.UnquoteUsage(f)
		err = fmt.Errorf("--%s wants a value; want --%s %s", f.Name, f.Name, strings.ToUpper(what))
	case errors.As(err, &unknown):
		err = unknownFlag(c, unknown)
	case errors.As(err, &malformed):
		err = fmt.Errorf("%q is no flag; want one such as --help", malformed.GetSpecifiedFlag())
	}
	if !c.HasParent() { // its name begins every line anyway
		return err
	}
	return fmt.Errorf("%s: %w", c.Name(), err)
}

// quoted is a value as a shell would want it: in quotes where it needs some.
func quoted(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\$*?`, r) }) {
		return strconv.Quote(s)
	}
	return s
}

// wrongValue says what would be right. The types are those of pflag; one of our own has
// words of its own.
func wrongValue(e *pflag.InvalidValueError) error {
	value, cause := e.GetValue(), errors.Unwrap(e)
	tooLarge := errors.Is(cause, strconv.ErrRange)
	switch kind := e.GetFlag().Value.Type(); {
	case kind == "duration":
		if _, err := config.ParseDuration(value); err != nil {
			return err
		}
	case kind == "bool":
		return errors.New("want true or false")
	case tooLarge:
		return errors.New("the number is out of range; want a smaller one")
	case strings.HasPrefix(kind, "int"):
		return errors.New("want a whole number")
	case strings.HasPrefix(kind, "uint"):
		return errors.New("want a whole number, 0 or more")
	case strings.HasPrefix(kind, "float"):
		return errors.New("want a number")
	}
	return cause
}

// unknownFlag tells which flag c may have been meant to get.
func unknownFlag(c *cobra.Command, e *pflag.NotExistError) error {
	help := fmt.Sprintf("; see %s --help", c.CommandPath())
	if letters := e.GetSpecifiedShortnames(); letters != "" {
		if name, _, _ := strings.Cut(letters, "="); c.Flags().Lookup(name) != nil {
			return fmt.Errorf("unknown flag -%s; did you mean --%s?", letters, name)
		}
		return fmt.Errorf("unknown flag -%s%s", e.GetSpecifiedName(), help)
	}
	name := "--" + e.GetSpecifiedName()
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	if meant := config.DidYouMean(name, names); meant != "" {
		help = meant
	}
	return fmt.Errorf("unknown flag %s%s", name, help)
}

// missingFlags is the error of the flags that c must have been given, and was not.
func missingFlags(c *cobra.Command) error {
	var missing []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if _, required := f.Annotations[cobra.BashCompOneRequiredFlag]; required && !f.Changed {
			what, _ := pflag.UnquoteUsage(f)
			missing = append(missing, fmt.Sprintf("--%s %s", f.Name, strings.ToUpper(what)))
		}
	})
	if missing == nil {
		return nil
	}
	return fmt.Errorf("%s: want %s", c.Name(), strings.Join(missing, " and "))
}
