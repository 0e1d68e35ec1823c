/* SHA-256 of a block of memory, as 64 hexadecimal digits and a zero (FIPS 180-4). */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void sha256(const void *data, size_t size, char digits[65]);

#ifdef __cplusplus
}
#endif
#endif
