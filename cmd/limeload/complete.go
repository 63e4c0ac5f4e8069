package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
	"github.com/spf13/cobra"
)

// completionTimeout is how long a shell waits for names. Without an answer there are none:
// a person who types must not meet an error.
const completionTimeout = 2 * time.Second

// complete has f offer values for a flag of c.
func complete(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // there is no such flag
	}
}

// names offers those words of ask's that begin with what is typed.
func (r *remote) names(typed string, ask func(context.Context, *client.Client) ([]cobra.Completion, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	api, err := r.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer api.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	all, _ := ask(ctx, api)
	var fit []cobra.Completion
	for _, word := range all {
		if strings.HasPrefix(word, typed) {
			fit = append(fit, word)
		}
	}
	return fit, cobra.ShellCompDirectiveNoFileComp
}

// completeBackends offers POOL/BACKEND, and BACKEND alone to who begins to type one, but
// none that is given already.
func (r *remote) completeBackends(_ *cobra.Command, given []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return r.names(typed, func(ctx context.Context, api *client.Client) (all []cobra.Completion, err error) {
		pools, err := api.Pools(ctx)
		for i := range pools {
			for j := range pools[i].Backends {
				b := &pools[i].Backends[j]
				at := client.Place{Pool: pools[i].Name, Backend: b.Name}
				if slices.Contains(given, at.String()) || slices.Contains(given, b.Name) {
					continue
				}
				about := show.Clean(fmt.Sprintf("%s, %s, %d active", b.Health, b.Mode, b.Active))
				all = append(all, cobra.CompletionWithDesc(at.String(), about))
				if found, err := client.Find(pools, b.Name); err == nil && typed != "" && found == at {
					all = append(all, cobra.CompletionWithDesc(b.Name, about))
				}
			}
		}
		return all, err
	})
}

func (r *remote) completePools(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return r.names(typed, func(ctx context.Context, api *client.Client) (all []cobra.Completion, err error) {
		pools, err := api.Pools(ctx)
		for i := range pools {
			all = append(all, cobra.CompletionWithDesc(pools[i].Name, fmt.Sprintf("%d of %d usable", pools[i].Usable, len(pools[i].Backends))))
		}
		return all, err
	})
}

func (r *remote) completeListeners(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return r.names(typed, func(ctx context.Context, api *client.Client) (all []cobra.Completion, err error) {
		listeners, err := api.Listeners(ctx)
		for i := range listeners {
			all = append(all, cobra.CompletionWithDesc(listeners[i].Name, show.Clean(strings.Join(listeners[i].Addresses, " "))))
		}
		return all, err
	})
}

// completeFirst is f for the first argument, and nothing for the others.
func (r *remote) completeFirst(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, given []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(c, given, typed)
	}
}
