"""The ledger itself: what it says of a board that has lost something."""

from tests.faults.load import under_load
from tests.services import System


async def test_the_ledger_tells_what_is_lost_and_what_is_doubled(world: System) -> None:
    relays = await world.relays(2)
    bridge = await world.start("bridge")
    async with under_load(world, relays, [bridge], editors=2, viewers=1) as load:
        async with load.running():
            await load.flows()
        await load.settled()
        assert await load.lost() == await load.doubled() == []

        editor = load.editors[0]
        before = await world.stores.streams.head(world.board)
        await editor.set("lost", 1)
        await load.viewers[0].wait_key("lost")
        for value in (1, 2):
            await load.editors[1].set("doubled", value)
        await load.viewers[0].wait_key("doubled", 2)
        after = await world.stores.streams.read_from(world.board, before)
        assert after is not None
        stream = f"{world.redis_key_prefix}board:{{{world.board}}}:log"
        await world.stores.redis.xdel(stream, str(after[0].cursor.id))
        load.relays.backends = [(await world.start("relay", "fresh")).url]
        assert await load.lost() == ["lost is not in the log", "lost is not on a joiner's board"]
        assert await load.doubled() == ["doubled"]
