package draw

import (
	"math"
	"testing"
)

// sights holds simulations of dichromatic sight in linear RGB, for severity 1 (Machado, Oliveira
// and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009).
var sights = map[string][3][3]float64{
	"normal": {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
	"protanopia": {
		{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216},
		{-0.003882, -0.048116, 1.051998},
	},
	"deuteranopia": {
		{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413},
		{-0.011820, 0.042940, 0.968881},
	},
	"tritanopia": {
		{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602},
		{0.004733, 0.691367, 0.303900},
	},
}

type triple [3]float64

func times(m [3][3]float64, v triple) (product triple) {
	for i, row := range m {
		product[i] = row[0]*v[0] + row[1]*v[1] + row[2]*v[2]
	}
	return product
}

// linear undoes the curve of sRGB (IEC 61966-2-1).
func linear(color int) triple {
	curve := func(channel int) float64 {
		c := float64(channel) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	r, g, b := rgb(color)
	return triple{curve(r), curve(g), curve(b)}
}

// lab returns CIE 1976 L*a*b* under the white of sRGB.
func lab(rgb triple) triple {
	xyz := times([3][3]float64{
		{0.4124564, 0.3575761, 0.1804375}, {0.2126729, 0.7151522, 0.0721750},
		{0.0193339, 0.1191920, 0.9503041},
	}, rgb)
	white := triple{0.95047, 1, 1.08883}
	var f triple
	for i := range f {
		if f[i] = xyz[i] / white[i]; f[i] > 216.0/24389 {
			f[i] = math.Cbrt(f[i])
		} else {
			f[i] = (24389.0/27*f[i] + 16) / 116
		}
	}
	return triple{116*f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])}
}

func distance(a, b triple) float64 {
	return math.Sqrt((a[0]-b[0])*(a[0]-b[0]) + (a[1]-b[1])*(a[1]-b[1]) + (a[2]-b[2])*(a[2]-b[2]))
}

func seen(sight [3][3]float64, color int) triple {
	v := times(sight, linear(color))
	for i := range v {
		v[i] = min(max(v[i], 0), 1)
	}
	return lab(v)
}

func TestPaletteIsForEveryone(t *testing.T) {
	for name, sight := range sights {
		for j, b := range palette {
			for i, a := range palette[:j] {
				least := 14.0
				if i < 8 && j < 8 {
					least = 31
				}
				if d := distance(seen(sight, a), seen(sight, b)); d < least {
					t.Errorf("%s: colours %d and %d are %.1f apart, want %.0f", name, a, b, d,
						least)
				}
			}
		}
	}
}

// TestMarksCanBeRead checks for the contrast of WCAG 2, level AA.
func TestMarksCanBeRead(t *testing.T) {
	for _, color := range palette {
		l := linear(color)
		luminance := 0.2126*l[0] + 0.7152*l[1] + 0.0722*l[2]
		contrast := 1.05 / (luminance + 0.05)
		if darkText(color) {
			contrast = (luminance + 0.05) / 0.05
		}
		if contrast < 4.5 {
			t.Errorf("the mark on colour %d has a contrast of %.1f", color, contrast)
		}
	}
}
