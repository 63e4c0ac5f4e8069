package config_test

import (
	"fmt"

	"github.com/limeload/limeload/pkg/config"
)

// The order of loading: the file over the defaults, the flags over the file,
// then one look at everything.
func Example() {
	c, err := config.Parse("limeload.toml", []byte(`
[[listener]]
name   = "postgres"
listen = [":5432"]
pool   = "postgras"

[[pool]]
name = "postgres"
  [[pool.backend]]
  address = "10.0.0.11"
  weight  = 300
`))
	if err != nil {
		fmt.Println(err) // no TOML: the only problem there can be
		return
	}
	level := "loud"
	if err := c.Overlay(config.Flags{LogLevel: &level}); err != nil {
		fmt.Println(err) // flags that do not fit together
		return
	}
	if err := c.Validate(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// limeload.toml:5: listener[0].pool: no pool is named "postgras"; did you mean "postgres"?
	// limeload.toml:10: pool[0].backend[0].address: "10.0.0.11" has no port; want host:port
	// limeload.toml:11: pool[0].backend[0].weight: 300 is out of range 0..256
	// --log-level loud: unknown log level "loud"; want one of trace, debug, info, warn, error
}
