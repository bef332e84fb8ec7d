package accountmap

// pageLen is how many values a page has. A map of a few accounts takes one page of each kind, about
// 40 KB.
const pageLen = 256

// pages is an array that grows without moving what it holds: growth never costs a copy of the whole
// map, and pointers into it stay valid.
type pages[T any] struct {
	list []*[pageLen]T
	used int
}

func (p *pages[T]) len() int { return p.used }

func (p *pages[T]) at(i uint32) *T { return &p.list[i/pageLen][i%pageLen] }

// add appends a value and returns its number.
func (p *pages[T]) add(v T) uint32 {
	i := uint32(p.used)
	p.grow(p.used + 1)
	*p.at(i) = v
	return i
}

// grow makes room for so many values.
func (p *pages[T]) grow(n int) {
	for len(p.list)*pageLen < n {
		p.list = append(p.list, new([pageLen]T))
	}
	p.used = n
}
