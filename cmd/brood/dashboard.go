package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"brood/dash"
	"brood/train"

	"github.com/spf13/cobra"
)

// anyAddress is what --dashboard means without an address.
const anyAddress = "default"

func newDashboard() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "dashboard DIR...",
		Short: "Serve a page that shows runs: while they train, and afterwards",
		Long: "Serve a page that shows the runs in some folders, and how they compare, until Ctrl-C. They may be trained\n" +
			"by another process meanwhile. `brood train --dashboard` shows a run of its own, with buttons.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("brood dashboard takes one run folder or several; got none")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := dash.Start(dash.Options{Dirs: args, Address: listen})
			if err != nil {
				return addressUsage(err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			fmt.Fprintln(os.Stderr, "dashboard  "+server.URL())
			<-ctx.Done()
			return server.Close()
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "`ADDRESS` to listen on, such as 0.0.0.0:8642; without one "+dash.DefaultAddress+", or a free port")
	return cmd
}

// addressUsage makes a mistake of the user's of an address that cannot be had.
func addressUsage(err error) error {
	for _, mistake := range []error{syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.EACCES} {
		if errors.Is(err, mistake) {
			return usage("%v", err)
		}
	}
	return err
}

// page is the live page of a run of this process, or none.
type page struct {
	wanted  bool
	address string
	live    dash.Live
	server  *dash.Server
}

func newPage(flag string) *page {
	p := &page{wanted: flag != "", address: flag}
	if flag == anyAddress {
		p.address = ""
	}
	return p
}

// check refuses an address before anything is begun.
func (p *page) check() error {
	if p.address == "" {
		return nil
	}
	_, err := dash.Address(p.address)
	return err
}

func (p *page) progress(s *train.Progress) {
	if p.wanted {
		p.live.Progress(s)
	}
}

// open serves the page. The context it returns ends when the page stops the run, too.
func (p *page) open(ctx context.Context, dir string, run *train.Run) (context.Context, error) {
	if !p.wanted {
		return ctx, nil
	}
	ctx, stop := context.WithCancel(ctx)
	p.live.Attach(run, stop)
	var err error
	if p.server, err = dash.Start(dash.Options{Dirs: []string{dir}, Address: p.address, Live: &p.live}); err != nil {
		stop()
		return nil, addressUsage(err)
	}
	fmt.Fprintln(os.Stderr, "dashboard  "+p.server.URL())
	return ctx, nil
}

// close tells the page how the run ended, and ends it.
func (p *page) close() {
	if p.server == nil {
		return
	}
	p.live.Ended()
	if err := p.server.Close(); err != nil {
		fmt.Fprintf(os.Stderr, "warning: the dashboard: %v\n", err)
	}
}
