// Macros shared by every header of the core. Nothing here depends on a framework or on CUDA.
#pragma once

// Geometry headers are compiled for the host by g++ and, with a definition of
// its own, for a device.
#ifndef ROIOPS_HD
#define ROIOPS_HD
#endif

// Functions in headers that *.isa.cpp files include: internal linkage, so that the linker can never
// give a baseline file the copy that was compiled with AVX-512.
#define ROIOPS_INLINE ROIOPS_HD static inline

// Number of channels that move together. Every reduction over channels uses this many lanes,
// whatever the instruction set, so that its result does not depend on the machine's vector width.
#define ROIOPS_LANES 16
