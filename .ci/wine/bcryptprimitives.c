// A bcryptprimitives.dll for wine 8, which has none, so that Go programs for Windows start under it. For tests only.

#include <windows.h>
#include <ntsecapi.h>
#include <string.h>

// ProcessPrng is the one function of this library that Go calls.
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
	return RtlGenRandom(data, (ULONG)size);
}

// Wine 8 answers a FileDispositionInformationEx with STATUS_NOT_IMPLEMENTED, which Windows never does and which Go's
// os.RemoveAll takes for a failure. An old Windows answers STATUS_INVALID_INFO_CLASS, and then Go deletes in the old way.
// So that answer is put in front of the system call.

enum { FileDispositionInformationEx = 64, head = 16, jump = 14 };

typedef LONG(WINAPI *set_information)(HANDLE, void *, void *, ULONG, int);
static BYTE *stub; // the beginning of the real function, and a jump to its rest

static LONG WINAPI answer(HANDLE file, void *status, void *info, ULONG size, int class)
{
	if (class == FileDispositionInformationEx)
		return (LONG)0xC0000003; // STATUS_INVALID_INFO_CLASS
	return ((set_information)stub)(file, status, info, size, class);
}

static void write_jump(BYTE *at, const void *to)
{
	static const BYTE code[6] = { 0xff, 0x25 }; // jmp [rip+0]
	memcpy(at, code, sizeof code);
	memcpy(at + sizeof code, &to, sizeof to);
}

BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, LPVOID reserved)
{
	// mov r10, rcx; mov eax, NUMBER; test byte [0x7ffe0308], 1: whole instructions that may be moved
	static const BYTE begins[] = { 0x4c, 0x8b, 0xd1, 0xb8 }, goes_on[] = { 0xf6, 0x04, 0x25, 0x08, 0x03, 0xfe, 0x7f, 0x01 };
	BYTE *f = (BYTE *)GetProcAddress(GetModuleHandleA("ntdll"), "NtSetInformationFile");
	DWORD before;

	if (reason != DLL_PROCESS_ATTACH || !f || memcmp(f, begins, sizeof begins) || memcmp(f + 8, goes_on, sizeof goes_on))
		return TRUE; // another wine: then nothing is changed
	stub = VirtualAlloc(NULL, head + jump, MEM_COMMIT | MEM_RESERVE, PAGE_EXECUTE_READWRITE);
	if (!stub || !VirtualProtect(f, head, PAGE_EXECUTE_READWRITE, &before))
		return TRUE;
	memcpy(stub, f, head);
	write_jump(stub + head, f + head);
	write_jump(f, (const void *)answer);
	VirtualProtect(f, head, before, &before);
	return TRUE;
}
