package bridge

// maxIdleWorkers bounds the goroutines that wait for the next request.
const maxIdleWorkers = 64

// start runs c in a goroutine: one that waits for work, else a new one. A new goroutine has a small stack, and growing
// it to what an HTTP request takes is a tenth of the cost of a small call.
func (p *pump) start(c *call) {
	select {
	case p.work <- c:
	default:
		go p.worker(c)
	}
}

// worker serves c, then what else comes, until there are enough that wait or the bridge ends.
func (p *pump) worker(c *call) {
	for {
		p.forward(c)
		if p.idle.Add(1) > maxIdleWorkers {
			p.idle.Add(-1)
			return
		}
		select {
		case c = <-p.work:
			p.idle.Add(-1)
		case <-p.life.Done():
			return
		}
	}
}
