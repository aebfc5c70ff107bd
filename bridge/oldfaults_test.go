package bridge_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestOldTransportFaults drives the bridge against a server of HTTP+SSE that misbehaves by a seeded schedule. Whatever happens:
// each call gets one answer, none runs twice, an error that denies execution tells the truth, and everything works again.
func TestOldTransportFaults(t *testing.T) {
	for seed := range uint64(*faultSchedules) {
		t.Run(fmt.Sprint("seed=", *faultSeed+seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { oldSchedule(t, rand.New(rand.NewPCG(*faultSeed+seed, 0))) })
		})
	}
}

func oldSchedule(t *testing.T, rng *rand.Rand) {
	calm := false
	draw := func(n int) bool { return !calm && rng.IntN(n) == 0 }
	p := &oldPeer{late: rng.IntN(2) == 0}
	p.refuse = func(r *http.Request) int {
		p.mu.Lock() // guards rng and calm
		defer p.mu.Unlock()
		if draw(12) {
			return []int{404, 429, 500, 503}[rng.IntN(4)]
		}
		return 0
	}
	p.answer = func(p *oldPeer, s *oldStream, m oldMsg) {
		p.mu.Lock()
		pause, end, twice, note := time.Duration(rng.IntN(2000))*time.Millisecond, draw(10), draw(10), draw(5)
		p.mu.Unlock()
		go func() {
			elapse(pause)
			if note {
				s.message(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
			}
			if end {
				s.end()
				return
			}
			s.result(m.ID, string(m.Params))
			if twice {
				s.result(m.ID, `{"again":true}`)
			}
		}()
	}
	cfg, n := startOld(t, p)
	cfg.KnownSSE = rng.IntN(2) == 0
	calm = true
	c := start(t, cfg)
	c.greet()
	p.mu.Lock()
	calm = false
	p.mu.Unlock()
	const calls = 60
	kinds, open := map[string]string{}, calls
	for i := range calls {
		c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"n":%d}}`, i, i))
		p.mu.Lock()
		pause, cut, restart := time.Duration(rng.IntN(500))*time.Millisecond, draw(15), draw(20)
		p.mu.Unlock()
		elapse(pause)
		if cut {
			p.cut()
		}
		if restart {
			n.setDown(true)
			elapse(pause)
			n.setDown(false)
		}
	}
	for open > 0 {
		open -= oldAnswerOf(t, c.next(), kinds)
	}
	for i := range calls {
		did, kind := p.executions(fmt.Sprintf(`{"n":%d}`, i)), kinds[fmt.Sprint(i)]
		denies := kind == "unreachable" || kind == "http_status"
		if did > 1 || kind == "" && did != 1 || denies && did != 0 {
			t.Errorf("call %d was executed %d times and answered with %q", i, did, kind)
		}
	}
	p.mu.Lock()
	calm = true
	p.mu.Unlock()
	elapse(2 * time.Minute)
	c.send(`{"jsonrpc":"2.0","id":"last","method":"tools/call","params":{"n":"last"}}`)
	for oldAnswerOf(t, c.next(), kinds) == 0 {
	}
	if kinds[`"last"`] != "" {
		t.Errorf("the last call ended with %q", kinds[`"last"`])
	}
	met := map[string]int{}
	for _, kind := range kinds {
		met[kind]++
	}
	t.Logf("answers by kind of error: %v", met)
	c.finish()
}

// oldAnswerOf notes the answer on a line, by the kind of its error. It returns how many answers that was.
func oldAnswerOf(t *testing.T, line string, kinds map[string]string) int {
	var m struct {
		ID    json.RawMessage
		Error *struct{ Data errorData }
	}
	if err := json.Unmarshal([]byte(line), &m); err != nil || m.ID == nil {
		return 0
	}
	if _, twice := kinds[string(m.ID)]; twice || strings.Contains(line, `"again":true`) {
		t.Errorf("second answer to %s: %s", m.ID, line)
	}
	kinds[string(m.ID)] = ""
	if m.Error != nil {
		kinds[string(m.ID)] = m.Error.Data.Kind
	}
	return 1
}

// elapse lets synthetic time pass.
func elapse(d time.Duration) { <-time.After(d) }

// TestOldTransportEscapedID: an id that the server writes without the client's escapes is the same. The request waited as
// long as the stream lasted.
func TestOldTransportEscapedID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _ := startOld(t, &oldPeer{answer: func(p *oldPeer, s *oldStream, m oldMsg) {
			s.result([]byte(`"é/1"`), `{}`)
		}})
		c := start(t, cfg)
		c.greet()
		c.send(fmt.Sprintf(unknownCall, `"\u00e9\/1"`))
		c.want(`{"jsonrpc":"2.0","id":"\u00e9\/1","result":{}}`)
		c.finish()
	})
}
