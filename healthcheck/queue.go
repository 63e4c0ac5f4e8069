package healthcheck

import (
	"container/heap"
	"time"
)

// queue orders the tasks that wait by when they are due. It never reads a
// clock.
type queue struct{ heap dueHeap }

// put queues t, or moves it when it is queued already, so that it is due at at.
func (q *queue) put(t *task, at time.Time) {
	t.due = at
	if t.place > 0 {
		heap.Fix(&q.heap, t.place-1)
		return
	}
	heap.Push(&q.heap, t)
}

// remove takes t out, if it is in.
func (q *queue) remove(t *task) {
	if t.place > 0 {
		heap.Remove(&q.heap, t.place-1)
	}
}

// pop takes out the task that is due for longest, or returns nil when none is
// due at now.
func (q *queue) pop(now time.Time) *task {
	if len(q.heap) == 0 || q.heap[0].due.After(now) {
		return nil
	}
	return heap.Pop(&q.heap).(*task)
}

// next is when the first task is due; false without any.
func (q *queue) next() (time.Time, bool) {
	if len(q.heap) == 0 {
		return time.Time{}, false
	}
	return q.heap[0].due, true
}

// dueHeap implements heap.Interface. A task knows its place, counted from 1,
// so that its zero value is not queued.
type dueHeap []*task

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h *dueHeap) Push(x any) {
	t := x.(*task)
	*h = append(*h, t)
	t.place = len(*h)
}

func (h *dueHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.place = 0
	return t
}
