/* From reset to main, for a Cortex-M with a floating-point unit under a debugger or emulator: printf and exit go through
 * semihosting, in newlib's rdimon. A board's own startup code takes this file's place. */
#include <stdint.h>
#include <stdlib.h>

extern char __stack[], __bss_start__[], __bss_end__[];
void initialise_monitor_handles(void);
int main(void);

static void reset(void) {
    volatile uint32_t *const cpacr = (volatile uint32_t *)0xe000ed88;
    *cpacr |= 0xfu << 20; /* the floating-point unit, and MVE */
    __asm__ volatile("dsb\nisb");
    for (char *byte = __bss_start__; byte < __bss_end__; byte++) *byte = 0;
    initialise_monitor_handles();
    exit(main());
}

static void fault(void) {
    exit(5);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    __stack, reset, fault, fault, fault, fault, fault, fault, 0, 0, 0, fault, fault, 0, fault, fault,
};

/* exit() would run destructors of C++ objects; there are none. */
void _init(void) {
}
void _fini(void) {
}
