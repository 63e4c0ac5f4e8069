package metrics

import "hash/crc32"

// The CRC-32 of two texts together follows from that of each: the first, as a polynomial
// over GF(2) modulo that of the CRC, times x to the number of bits of the second, plus the
// second. This is zlib's crc32_combine. In a number the coefficient of x^0 is the highest
// bit, that of x^31 the lowest.

// crcAfter is the CRC of a text whose first part has the CRC first and whose second has
// the CRC second; shift is crcShift of the second's length.
func crcAfter(first, second, shift uint32) uint32 { return crcTimes(first, shift) ^ second }

// crcShift is x to the number of bits of n bytes.
func crcShift(n uint32) uint32 {
	p := uint32(1) << 31 // x^0
	for i := 0; n > 0; i++ {
		if n&1 == 1 {
			p = crcTimes(p, crcShifts[i])
		}
		n >>= 1
	}
	return p
}

// crcShifts are those of 1, 2, 4 ... bytes.
var crcShifts = func() (all [32]uint32) {
	all[0] = 1 << (31 - 8) // x^8
	for i := 1; i < len(all); i++ {
		all[i] = crcTimes(all[i-1], all[i-1])
	}
	return all
}()

// crcTimes is the product of a and b. It does the same for all, without a jump: which
// bits are set cannot be foreseen.
func crcTimes(a, b uint32) (p uint32) {
	for range 32 {
		p ^= b & -(a >> 31)
		a <<= 1
		b = b>>1 ^ crc32.IEEE&-(b&1)
	}
	return p
}
