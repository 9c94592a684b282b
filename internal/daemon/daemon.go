package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/host"
	"gxswitch/internal/version"
)

// Options are the daemon's flags.
type Options struct {
	ConfigFile     string
	ConfigRequired bool   // the file was named, so it must be there
	RunDir         string // holds control.sock
	StateDir       string
	Socket         string // overrides RunDir's
	Engine         string // auto, afpacket or ebpf
	Workers        int    // 0: one a CPU
	Log            *slog.Logger
}

// Run is the daemon: it returns when ctx is done and everything it changed is
// put back, or when it can't start. SIGHUP reloads. SIGUSR1 ends it too, but
// leaves host interfaces, guards and settings as they are: a restart is no gap
// in which the host's own stack sees guests' frames, or in which its interfaces,
// with the routes that others put there, are gone.
func Run(ctx context.Context, opt Options) (err error) {
	log := opt.Log
	cfg, err := loadConfig(opt, log)
	if err != nil {
		rescue(opt)
		return err
	}
	if err := mayRun(); err != nil {
		return err
	}
	for _, dir := range []string{opt.RunDir, opt.StateDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}

	// The socket comes first: whoever else runs here is found before anything
	// is touched.
	socket := opt.socket()
	server, err := control.Listen(control.ServerOptions{Socket: socket, Group: cfg.Daemon.Group, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()

	st, err := loadState(opt.StateDir)
	if err != nil {
		log.Warn("the journal of the last run can't be read, it starts anew", "err", err)
	}
	begun := false // from then on stop gives back
	defer func() {
		if err != nil && !begun {
			giveBackAll(opt, st)
		}
	}()

	// A worker that spins or waits in the kernel keeps a processor of Go's: the
	// rest of the program gets its own.
	workers := opt.Workers
	if workers <= 0 {
		workers = runtime.NumCPU()
	}
	runtime.GOMAXPROCS(workers + 2)
	kernel, reason, err := openEngine(opt, workers)
	if err != nil {
		return err
	}
	swOptions := dataplane.Options{Workers: workers, Log: log}
	if kernel != nil {
		defer func() { err = errors.Join(err, kernel.Close()) }()
		swOptions.Kernel = kernel
		for _, p := range kernel.Punts() {
			swOptions.Punts = append(swOptions.Punts, p)
		}
	}
	sw, err := dataplane.New(swOptions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sw.Close()) }()
	m := newManager(sw, log, opt.StateDir)
	m.kernel, m.engineReason = kernel, reason
	m.file = opt.ConfigFile

	var watchers sync.WaitGroup
	defer watchers.Wait()
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	if m.l3.addrSet, err = host.WatchAddrs(watching); err != nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	if m.l3.routeSet, err = host.WatchRoutes(watching); err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	m.takeAddrs()
	m.takeRoutes()
	neighbours, err := host.WatchNeighbours(watching)
	if err != nil {
		return fmt.Errorf("watch neighbours: %w", err)
	}
	events, err := host.Watch(watching)
	if err != nil {
		return fmt.Errorf("watch interfaces: %w", err)
	}
	added, err := host.WatchAdded(watching)
	if err != nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	begun = true
	if err := m.start(cfg, st); err != nil {
		m.stop()
		return err
	}
	watchers.Go(func() { m.followLayer3(watching, neighbours) })
	watchers.Go(func() { m.followAdded(added) })
	watchers.Go(func() { m.follow(events) })
	watchers.Go(func() { m.reloadOnHangup(watching) })
	watchers.Go(func() { m.noteLeases(watching) })
	watchers.Go(func() { m.keepSessions(watching) })

	successor := make(chan os.Signal, 1)
	signal.Notify(successor, unix.SIGUSR1)
	defer signal.Stop(successor)
	putBack := m.stop

	served := make(chan error, 1)
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	go func() { served <- server.Serve(serving, m) }()

	log.Info("ready", "version", version.String(), "engine", m.engineName(), "workers", workers, "socket", socket)
	if err := notify("READY=1"); err != nil {
		log.Warn("tell the service manager", "err", err)
	}

	select {
	case <-ctx.Done():
	case <-successor:
		putBack = func() {
			m.handOver()
			if kernel != nil {
				kernel.Leave()
			}
		}
	case err = <-served:
		served <- nil
	}
	log.Info("stopping")
	_ = notify("STOPPING=1")
	stopServing()
	err = errors.Join(err, <-served)
	stopWatching()
	watchers.Wait()
	putBack()
	return err
}

// loadConfig reads the file. Without one at the usual place the daemon starts
// without networks: the command line adds them.
func loadConfig(opt Options, log *slog.Logger) (config.Config, error) {
	cfg, err := config.Load(opt.ConfigFile)
	if errors.Is(err, fs.ErrNotExist) && !opt.ConfigRequired {
		log.Warn("no configuration file, starting without networks", "file", opt.ConfigFile)
		return config.Default(), nil
	}
	return cfg, err
}

// mayRun refuses early, and in words, a process that could do nothing.
func mayRun() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
		return nil
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return control.Errorf(control.CodeRefused, "no privileges to open raw sockets").
			WithHint("run it as root, or with CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON")
	}
	return fmt.Errorf("open a packet socket: %w", err)
}

func (m *manager) reloadOnHangup(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, unix.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			if _, err := m.Reload(); err != nil {
				m.log.Error("reload, nothing was changed", "err", err)
			}
		}
	}
}

// notify tells the service manager how things are (sd_notify(3)).
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}
