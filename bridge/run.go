package bridge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge/bulk"
	"drawbridge/bridge/httpsse"
	"drawbridge/bridge/stdio"
)

const (
	// drainLimit bounds how long answers that are due are waited for after the end of input.
	drainLimit = 10 * time.Second
	// deleteLimit bounds the DELETE of the session at a calm end, hurryLimit at a signal: clients kill after 500 ms.
	deleteLimit, hurryLimit = 2 * time.Second, 300 * time.Millisecond

	// maxAnswers bounds how many answers of the bridge's own wait while the client does not read.
	maxAnswers = 256

	defaultCallWait = 55 * time.Second
)

// DefaultMaxMessage is the size of the largest message, in bytes, where the configuration does not say.
const DefaultMaxMessage = 64 << 20

// DefaultStartupBudget is how long initialize and lists wait for the server where the configuration does not say.
const DefaultStartupBudget = 2500 * time.Millisecond

// Transport is one of the transports of a server.
type Transport = httpsse.Mode

// Transports.
const (
	AnyTransport   = httpsse.Auto // found out
	StreamableHTTP = httpsse.HTTP // MCP 2025-03-26 and later
	HTTPWithSSE    = httpsse.SSE  // MCP 2024-11-05
)

// Config says what to bridge. URL and Auth are required.
type Config struct {
	// URL is the server's MCP endpoint.
	URL string

	// Auth gives requests their credentials.
	Auth Authorizer

	// HTTP sends requests. If nil, http.DefaultTransport is used. Its redirect policy is replaced.
	HTTP *http.Client

	// Transport is how the server is spoken to. If "", it is found out.
	Transport Transport

	// KnownSSE says that the server was last found to speak HTTP+SSE of MCP 2024-11-05, which is then tried first.
	KnownSSE bool

	// LearnedSSE, if not nil, is told when the server is found to speak another transport than KnownSSE says.
	LearnedSSE func(sse bool)

	// Version is told to clients that are answered in the server's place.
	Version string

	// StartupBudget is how long initialize and lists wait for the server, and operations for one that is known to be away.
	// If 0, 2.5 s: Claude Code gives a list 5 s.
	StartupBudget time.Duration

	// CallWait is how long an operation waits for a human to sign in, or for a server that says nothing. If 0, 55 s: many
	// clients end a request at 60 s.
	CallWait time.Duration

	// MaxMessage is the size of the largest message, in bytes. If 0, 64 MiB.
	MaxMessage int

	// Memory keeps what the server said. If nil, nothing is kept, and a server that cannot be asked has no lists.
	Memory Memory

	// OnInputEnd is called once when the input has ended, before answers that are due are waited for: nobody is there any
	// more to be asked anything. It must not block. If nil, nothing is called.
	OnInputEnd func()

	clock func() instant // if nil, the machine's; tests set it

	// Log receives diagnostics: methods, ids, sizes and times, never contents. If nil, they are discarded.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if u, err := url.Parse(c.URL); err != nil || u.Host == "" || c.Auth == nil {
		return c, errors.New("bridge: Config needs a URL with a host, and Auth")
	}
	c.StartupBudget = orDefault(c.StartupBudget, DefaultStartupBudget)
	c.CallWait = orDefault(c.CallWait, defaultCallWait)
	c.MaxMessage = orDefault(c.MaxMessage, DefaultMaxMessage)
	if c.clock == nil {
		c.clock = clock()
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{}
	}
	if c.OnInputEnd == nil {
		c.OnInputEnd = func() {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Run bridges in and out to the server until in ends, ctx ends, or out breaks. The first two are good ends and give
// nil. It does not wait for a read of in that is still blocked.
func Run(ctx context.Context, cfg Config, in io.Reader, out io.Writer) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	p := newPump(cfg, out)
	ended := make(chan error, 1)
	go func() { ended <- p.read(stdio.NewReader(in, cfg.MaxMessage, p.pool)) }()
	select {
	case err = <-ended:
		cfg.OnInputEnd()
		p.drain(ctx)
		p.close(ctx.Done())
	case <-ctx.Done():
		p.close(ctx.Done())
	case <-p.broken:
		err = errors.New("standard output is closed")
		p.close(p.broken)
	}
	return err
}

// pump is one bridge at work.
type pump struct {
	cfg Config
	up  upstream
	out *stdio.Writer

	pool *bulk.Pool // memory for big messages

	calls   calls
	session session
	view    view
	subs    subscriptions
	asks    serverAsks
	sleep   sleeper
	trails  trails
	keeping sync.RWMutex // held for reading until what the server said is kept: the end of input waits for that
	elicit  elicitations

	life    context.Context // connection lifetime; cancelled by close
	end     context.CancelFunc
	closing chan struct{} // closed at the end of input: from then on nobody waits for a human
	broken  chan struct{} // closed when stdout does
	broke   sync.Once

	work chan *call   // unbuffered: to a worker that waits
	idle atomic.Int32 // how many do

	notes   noteQueue      // the client's notifications, posted in order
	answers chan []byte    // answers of the reader's own that wait for the client to read
	posting sync.WaitGroup // notifications and responses of the client that are on their way
	wake    chan struct{}  // 1-buffered; says that a client request went well, to the GET stream that waits for it

	lastRequest atomic.Int64 // of the client, Unix time in nanoseconds
	ownIDs      atomic.Int64 // counts requests of the bridge's own
}

func newPump(cfg Config, out io.Writer) *pump {
	p := &pump{
		cfg: cfg, up: newUpstream(cfg), out: stdio.NewWriter(out),
		pool:    &bulk.Pool{Limit: 3*cfg.MaxMessage + 1<<20}, // what the readers of lines and streams need
		closing: make(chan struct{}), broken: make(chan struct{}), work: make(chan *call),
		answers: make(chan []byte, maxAnswers), wake: make(chan struct{}, 1),
	}
	p.life, p.end = context.WithCancel(context.Background())
	p.notes.more = make(chan struct{}, 1)
	p.session.ready, p.session.initialized = make(chan struct{}), make(chan struct{})
	p.asked()
	go p.postNotes()
	go p.writeAnswers()
	return p
}

// read takes messages until the input ends.
func (p *pump) read(in *stdio.Reader) error {
	for {
		line, err := in.Next()
		switch {
		case err == nil:
			p.take(line)
		case errors.Is(err, stdio.ErrTooLong):
			p.soon(errorMessage(nullID, tooLong(p.cfg.MaxMessage)))
		case err == io.EOF:
			return nil
		default:
			return err
		}
	}
}

// write sends a message to the client.
func (p *pump) write(message []byte) { p.wrote(p.out.Write(message)) }

// queue is write for a message that more may follow at once. Who queues flushes before waiting for anything.
func (p *pump) queue(message []byte) { p.wrote(p.out.Queue(message)) }

func (p *pump) flush() { p.wrote(p.out.Flush()) }

// wrote ends Run when a write failed, because the client is gone.
func (p *pump) wrote(err error) {
	if err != nil {
		p.broke.Do(func() { close(p.broken) })
	}
}

// drain waits until what the client sent is dealt with, as far as that needs no human.
func (p *pump) drain(ctx context.Context) {
	close(p.closing)
	done := make(chan struct{})
	go func() {
		p.calls.due.Wait()
		p.posting.Wait()
		p.keeping.Lock()
		defer p.keeping.Unlock()
		close(done)
	}()
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
	case <-ctx.Done():
	case <-p.broken:
	}
}

// close ends everything and tells the server that the session is over. It does so within hurryLimit of the close of hurry.
func (p *pump) close(hurry <-chan struct{}) {
	link := p.session.link()
	p.end()
	defer p.up.wire.Close()
	if link.sessionID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), deleteLimit)
	defer cancel()
	go func() {
		select {
		case <-ctx.Done():
		case <-hurry:
			time.AfterFunc(hurryLimit, cancel)
		}
	}()
	p.up.delete(ctx, link)
}
