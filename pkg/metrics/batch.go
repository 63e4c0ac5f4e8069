package metrics

// batch is what has come together of a scrape and is not written yet.
type batch struct {
	out  *polite
	zip  *gzipLines // what out ends in, if it is one; nil otherwise
	line []byte
	bits lineDeflater // of a fragment
	err  error        // the first one of out: the reader has gone
}

// flushAt is how many bytes come together before they are written.
const flushAt = 64 << 10

// batch is one for out, in the page's memory, to which giveBack returns it.
func (p *page) batch(out *polite, zip *gzipLines) batch {
	return batch{out: out, zip: zip, line: p.line[:0], bits: p.bits}
}

func (p *page) giveBack(b *batch) { p.line, p.bits = b.line[:0], b.bits }

// flushFull passes on what has come together if it is worth a write.
func (b *batch) flushFull() {
	if len(b.line) >= flushAt {
		b.flush()
	}
}

// flush passes on what has come together.
func (b *batch) flush() {
	if b.err == nil && len(b.line) > 0 {
		_, b.err = b.out.Write(b.line)
	}
	b.line = b.line[:0]
}

// Write is for what the library writes.
func (b *batch) Write(p []byte) (int, error) {
	b.line = append(b.line, p...)
	return len(p), b.err
}
