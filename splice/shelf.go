package splice

// shelf is an array that grows at its end and never moves: growing makes no garbage, and
// the address of an element holds. It is made of blocks of blockSize elements.
type shelf[T any] struct {
	blocks [][]T
	n      int
}

const blockSize = 512

func (s *shelf[T]) len() int { return s.n }

func (s *shelf[T]) at(i int) *T { return &s.blocks[uint(i)/blockSize][uint(i)%blockSize] }

// push appends v.
func (s *shelf[T]) push(v T) {
	if s.n == len(s.blocks)*blockSize {
		s.blocks = append(s.blocks, make([]T, blockSize))
	}
	s.n++
	*s.at(s.n - 1) = v
}

// pop takes the last element. Its block is kept for the next one.
func (s *shelf[T]) pop() T {
	s.n--
	return *s.at(s.n)
}
