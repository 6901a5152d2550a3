package gpu

// XIDClass says how far the effect of an XID goes.
type XIDClass string

// The classes of XIDs.
const (
	// XIDApplication ends or concerns one application. The GPU works for the next one.
	XIDApplication XIDClass = "application"
	// XIDFatal leaves a GPU on which no application can rely before it is reset, or more is done.
	XIDFatal XIDClass = "fatal"
	// XIDOther needs no immediate action or is unknown, or only its details say how bad it is,
	// which NVML does not report.
	XIDOther XIDClass = "other"
)

// XIDUnknownToNVML is the number that NVML reports for an XID that it does not know itself (nvml.h,
// the comment of nvmlEventData_t).
const XIDUnknownToNVML = 999

// DescribeXID returns the class of an XID and its meaning in a few words. The meaning of a number
// that is not listed here is "unknown to this version": a later catalogue may have it.
//
// The class follows from the immediate action in NVIDIA's catalogue of XIDs, as it was when it
// went up to XID 172 (https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html):
// RESTART_APP is XIDApplication. RESET_GPU, RESTART_VM, RESTART_BM and the workflows that lead to
// a reset (48, 74) are XIDFatal. IGNORE and the rest are XIDOther. For 144 to 150 the catalogue has
// a table of subcodes. NVML does not report the subcode, so the class is the one that all of an
// XID's rows agree on: 150 is XIDFatal, 147 and 148 are XIDOther, and so are those whose rows
// disagree (144, 145, 146, 149). The exceptions are:
//
//   - 13, 31, 43, 45 and 68 are XIDApplication, because NVIDIA's Kubernetes device plugin takes
//     them for errors of the application (internal/rm/health.go). For 43 and 45 the text of the
//     catalogue agrees. The plugin has 109 as well, a context switch that took too long, but the
//     row of the catalogue says RESET_GPU, so it is XIDFatal.
//   - 137 is XIDApplication. Its action is IGNORE, but the text says that it is typically a bug of
//     the application.
//   - 94 is XIDApplication because of its action, although broken memory causes it: the error is
//     contained to one application.
//   - 155 is XIDOther although its action is RESET_GPU, because a link that goes down on purpose
//     causes it as well.
func DescribeXID(code uint64) (class XIDClass, meaning string) {
	if x, ok := xids[code]; ok {
		return x.class, x.meaning
	}
	for _, e := range engines { // the catalogue's action is RESTART_APP for all of them
		if e.first <= code && code <= e.last {
			return XIDApplication, e.meaning
		}
	}
	return XIDOther, "unknown to this version"
}

type xid struct {
	class   XIDClass
	meaning string
}

// xids are the XIDs that the catalogue has in use, without those of the engines below, and the one
// that stands for an unknown XID.
var xids = map[uint64]xid{
	8:  {XIDApplication, "a channel of the GPU timed out"},
	11: {XIDApplication, "broken commands in the push buffer"},
	13: {XIDApplication, "exception in a kernel, such as an access out of bounds"},
	25: {XIDApplication, "invalid or illegal commands in the push buffer"},
	31: {XIDApplication, "page fault in GPU memory: an illegal address was accessed"},
	32: {XIDApplication, "broken push buffer, often from a bad PCIe link"},
	37: {XIDOther, "driver firmware error"},
	38: {XIDOther, "driver firmware watchdog timed out"},
	39: {XIDApplication, "copy engine exception"},
	40: {XIDApplication, "copy engine exception"},
	41: {XIDApplication, "copy engine exception"},
	43: {XIDApplication, "a software fault of the application stopped its work"},
	44: {XIDOther, "fault during a context switch"},
	45: {XIDApplication, "the application's work was torn down: it was ended or failed before"},
	46: {XIDFatal, "the GPU stopped processing"},
	48: {XIDFatal, "uncorrectable memory error"},
	54: {XIDOther, "auxiliary power is not connected"},
	60: {XIDApplication, "video processor exception"},
	62: {XIDFatal, "the GPU's internal controller halted"},
	63: {XIDOther, "bad memory was marked for remapping or retirement"},
	64: {XIDFatal, "bad memory could not be remapped or retired"},
	66: {XIDOther, "illegal access by the driver"},
	67: {XIDOther, "illegal access by the driver"},
	68: {XIDApplication, "video decoder exception"},
	69: {XIDApplication, "graphics engine class error"},
	74: {XIDFatal, "NVLink error, on this GPU or at the link's other end"},
	78: {XIDOther, "a vGPU could not start"},
	79: {XIDFatal, "the GPU fell off the bus"},
	80: {XIDApplication, "corrupted commands were sent to the GPU"},
	86: {XIDApplication, "optical flow engine exception"},
	92: {XIDOther, "many correctable memory errors"},
	93: {XIDOther, "the infoROM's wear limit is reached"},
	94: {XIDApplication, "memory error, contained to one application; " +
		"reset the GPU when convenient"},
	95: {XIDFatal, "memory error that was not contained: all applications on the GPU are affected"},

	106: {XIDOther, "test message"},
	107: {XIDOther, "test message"},
	109: {XIDFatal, "context switch timed out"},
	110: {XIDFatal, "security fault"},
	119: {XIDFatal, "the GPU's system processor (GSP) does not answer"},
	120: {XIDFatal, "error in the GPU's system processor (GSP)"},
	121: {XIDOther, "corrected errors on the link to the CPU"},
	136: {XIDFatal, "NVLink training failed"},
	137: {XIDApplication, "illegal access over NVLink"},
	139: {XIDApplication, "optical flow engine error"},
	140: {XIDFatal, "uncorrectable memory error that could not be dealt with"},
	141: {XIDOther, "CUDA fast path error"},
	142: {XIDOther, "video encoder error"},
	143: {XIDFatal, "the GPU could not be initialized"},
	144: {XIDOther, "NVLink error (SAW)"},
	145: {XIDOther, "NVLink error (RLW)"},
	146: {XIDOther, "NVLink error (TLW)"},
	147: {XIDOther, "NVLink error (TREX)"},
	148: {XIDOther, "NVLink error (NVLPW)"},
	149: {XIDOther, "NVLink error (NETIR)"},
	150: {XIDFatal, "NVLink error (MSE)"},
	151: {XIDFatal, "key rotation error"},
	152: {XIDOther, "deep learning accelerator: memory management error"},
	153: {XIDOther, "deep learning accelerator timed out"},
	154: {XIDOther, "the recovery action that the driver asks for has changed"},
	155: {XIDOther, "NVLink went down"},
	156: {XIDFatal, "a faulty part of the GPU was retired"},
	157: {XIDOther, "a faulty part of the GPU could not be retired"},
	158: {XIDFatal, "the GPU timed out for good"},
	159: {XIDOther, "error on the link to the CPU"},
	160: {XIDOther, "a memory channel was retired"},
	161: {XIDOther, "a memory channel could not be retired"},
	162: {XIDOther, "power smoothing is on again"},
	163: {XIDOther, "power smoothing is off"},
	164: {XIDOther, "power smoothing is near its end of life"},
	165: {XIDOther, "power smoothing is at its end of life"},
	166: {XIDOther, "encrypted NVLink traffic before the link was ready"},
	167: {XIDOther, "PCIe timed out for good"},
	168: {XIDOther, "errors in protected memory: less of it is left"},
	169: {XIDOther, "the GPU's security controller halted"},
	170: {XIDOther, "NVLink interrupt in confidential computing mode"},
	171: {XIDOther, "uncorrectable DRAM error, details of Xid 48"},
	172: {XIDOther, "uncorrectable SRAM error, details of Xid 48"},

	XIDUnknownToNVML: {XIDOther, "an XID that NVML itself does not know"},
}

// engines are kinds of engines of which a GPU has several, with one XID for each.
var engines = []struct {
	first, last uint64
	meaning     string
}{
	{70, 72, "copy engine error"},
	{75, 77, "copy engine error"},
	{82, 82, "JPEG engine error"},
	{83, 84, "video decoder error"},
	{85, 85, "copy engine error"},
	{88, 89, "video decoder error"},
	{96, 98, "video decoder error"},
	{99, 105, "JPEG engine error"},
	{126, 135, "copy engine error"},
}
