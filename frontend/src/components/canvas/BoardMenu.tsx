import { DefaultMainMenu, DefaultMainMenuContent, TldrawUiMenuGroup, TldrawUiMenuItem } from 'tldraw'

/** tldraw's main menu, and the way back to the other boards. */
export function BoardMenu() {
  return (
    <DefaultMainMenu>
      <TldrawUiMenuGroup id="boards">
        <TldrawUiMenuItem id="all-boards" label="All boards" icon="arrow-left" onSelect={() => location.assign('/')} />
      </TldrawUiMenuGroup>
      <DefaultMainMenuContent />
    </DefaultMainMenu>
  )
}
