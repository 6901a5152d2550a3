package gpu

// source is NVML as the rest of this package sees it. A build without NVML has none.
type source interface {
	// inventory lists the GPUs anew. What NVML cannot say of a broken one is taken from the driver's own list.
	inventory() (Inventory, error)
	// sample reads the figures of the GPUs of the last inventory. It makes one if there is none yet, or if the number
	// of GPUs has changed.
	sample() Sample
	// close ends the session with NVML.
	close()
}
